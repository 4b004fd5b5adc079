//! What the chain meets at its ends: a pager, a node exporter, and a listener on the wire between two parts. Their
//! threads end with the test's process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::process::free_port;
use crate::support::Answer;

/// Serves each connection in a thread of its own. A client that goes away ends its thread and nothing else.
fn serve(port: u16, serve: impl Fn(TcpStream) -> std::io::Result<()> + Clone + Send + 'static) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
}

/// Stands for a node exporter: answers every request with one metric.
pub fn node_exporter(port: u16) {
    serve(port, |stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        (&stream).write_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nnode_answers 1\n")
    });
}

/// Stands for the person: a mail server that keeps what it is given.
pub struct Mailbox(Arc<Mutex<Vec<String>>>);

impl Mailbox {
    pub fn open(port: u16) -> Mailbox {
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&mails);
        serve(port, move |stream| receive(&stream, &kept));
        Mailbox(mails)
    }

    /// The subjects of the mails, in the order they came.
    pub fn subjects(&self) -> Vec<String> {
        let mails = self.0.lock().unwrap();
        let subject = |mail: &String| {
            let line = mail.lines().find_map(|line| line.strip_prefix("Subject: "));
            line.unwrap_or("(none)").to_owned()
        };
        mails.iter().map(subject).collect()
    }
}

/// One SMTP session, RFC 5321.
fn receive(mut stream: &TcpStream, mails: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    stream.write_all(b"220 mailbox\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        match line.get(..4) {
            Some("DATA") => {
                stream.write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                for line in lines.by_ref() {
                    match line?.as_str() {
                        "." => break,
                        line => mail.extend([line, "\n"]),
                    }
                }
                mails.lock().unwrap().push(mail);
                stream.write_all(b"250 kept\r\n")?;
            }
            Some("QUIT") => return stream.write_all(b"221 bye\r\n"),
            _ => stream.write_all(b"250 fine\r\n")?,
        }
    }
    Ok(())
}

/// Sits between a sender and the listener and writes down what is answered; passes everything on as it comes.
pub struct Relay {
    pub port: u16,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    pub fn before(to: u16) -> Relay {
        let port = free_port();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&answers);
        serve(port, move |client| {
            let listener = TcpStream::connect(("127.0.0.1", to))?;
            let (from, into) = (client.try_clone()?, listener.try_clone()?);
            let request = thread::spawn(move || pass(from, into));
            let answer = pass(listener, client)?;
            kept.lock().unwrap().push(answer);
            let _ = request.join();
            Ok(())
        });
        Relay { port, answers }
    }

    /// The answers, in the order they ended.
    pub fn answers(&self) -> Vec<Answer> {
        let answers = self.answers.lock().unwrap();
        answers.iter().map(|bytes| Answer::parse(bytes)).collect()
    }
}

fn pass(mut from: TcpStream, mut into: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match from.read(&mut chunk)? {
            0 => {
                let _ = into.shutdown(Shutdown::Write);
                return Ok(all);
            }
            n => {
                all.extend_from_slice(&chunk[..n]);
                into.write_all(&chunk[..n])?;
            }
        }
    }
}
