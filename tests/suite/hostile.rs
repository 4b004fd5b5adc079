//! Another account on the same machine, with self-heal installed on it by the files of `deploy/`: systemd-sysusers and
//! systemd-tmpfiles make the account and the folders, webhook-listener.sh listens. What that account tries to read,
//! plant, hold, signal, ask and order, it does not get, and whoever may ask is served all the while.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::process::{Child, Command, Output, Stdio};

use nix::unistd::Pid;

use crate::stage::{Gate, STRANGER, alive, as_root, install, lines_with, put_down};
use crate::support::{Alert, PROGRAM, PROJECT, Sandbox, chmod, notification, until};

/// What nobody else may ever see: it begins so in the token, the pager's key, a file of root's and what comes of them.
const SECRET: &str = "SECRET-of-mine";
/// The same for grep(1), so that a script's own text is none.
const PATTERN: &str = "SECRET-of-[m]ine";

/// Everything of self-heal's on the machine.
const PLACES: &str = "/etc/self-heal /opt/self-heal /usr/local/bin/self-heal /var/log/self-heal \
    /run/lock/self-heal /var/lib/self-heal /var/backups/self-heal /etc/sudoers.d";

/// A machine of its own: a mount namespace in which everything that the installation changes is laid over this one's.
struct Machine {
    sandbox: Sandbox,
    keeper: Child,
    listener: Option<Child>,
    port: u16,
}

#[derive(Clone, Copy)]
enum By {
    Root,
    Healer,
    Stranger,
}

impl Machine {
    /// Installed, with these lines of configuration, and listening.
    fn new(configuration: &str) -> Machine {
        as_root();
        let sandbox = Sandbox::new();
        let program = sandbox.path("program");
        install(PROGRAM.as_ref(), &program, "755");
        let mounts = sandbox.path("mounts");
        fs::create_dir(&mounts).unwrap();
        fs::create_dir(sandbox.path("mallory")).unwrap();
        chown(sandbox.path("mallory"), Some(STRANGER), Some(STRANGER)).unwrap();
        sandbox.write(
            "self-heal.conf",
            &format!("HEAL_SYSLOG=off\n{configuration}"),
        );
        let script = format!(
            "set -euo pipefail
            mount -t tmpfs -o mode=755 tmpfs {mounts}
            for d in etc opt var run usr/local; do
                mkdir -p {mounts}/$d/upper {mounts}/$d/work
                mount -t overlay -o lowerdir=/$d,upperdir={mounts}/$d/upper,workdir={mounts}/$d/work overlay /$d
            done
            mkdir -p /run/lock; chmod 1777 /run/lock
            echo 'mallory:x:{STRANGER}:{STRANGER}::/tmp:/bin/bash' >>/etc/passwd
            echo 'mallory:x:{STRANGER}:' >>/etc/group
            cd {PROJECT}/deploy
            systemd-sysusers $PWD/sysusers.d/self-heal.conf
            systemd-tmpfiles --create $PWD/tmpfiles.d/self-heal.conf
            install -D -m 755 {program} /usr/local/bin/self-heal
            install -m 755 webhook-listener.sh /opt/self-heal/webhook-listener.sh
            install -D -m 440 sudoers.d/healer /etc/sudoers.d/healer
            install -m 644 {conf} /etc/self-heal/self-heal.conf
            echo 'web-*' >/opt/self-heal/allowed-instances.txt
            for name in token pagerduty.key; do
                install -m 640 -g healer /dev/null /etc/self-heal/$name
                echo {SECRET}-$name >/etc/self-heal/$name
            done
            install -D -m 600 /dev/null /etc/app/app.conf
            echo {SECRET}-app >/etc/app/app.conf
            echo ready >{ready}
            exec sleep infinity",
            mounts = mounts.display(),
            program = program.display(),
            conf = sandbox.path("self-heal.conf").display(),
            ready = sandbox.path("ready").display(),
        );
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("the machine is there", || {
            assert!(keeper.try_wait().unwrap().is_none(), "it could not be made");
            fs::read(sandbox.path("ready"))
                .ok()
                .filter(|said| !said.is_empty())
        });
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut machine = Machine {
            sandbox,
            keeper,
            listener: None,
            port,
        };
        machine.listen();
        machine
    }

    fn listen(&mut self) {
        let script = format!(
            "HEAL_PORT={} exec /opt/self-heal/webhook-listener.sh",
            self.port
        );
        let mut listener = self.command(By::Healer, &script);
        self.listener = Some(listener.spawn().unwrap());
        let healthy = format!(
            "curl -sf --noproxy '*' http://127.0.0.1:{}/-/healthy",
            self.port
        );
        until("it listens", || {
            self.run(By::Root, &healthy).status.success().then_some(())
        });
    }

    /// A script, in an account's hands.
    fn command(&self, by: By, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        command.args([&namespace, "--"]);
        let (name, groups) = match by {
            By::Root => ("root", "--init-groups"),
            By::Healer => ("healer", "--init-groups"),
            By::Stranger => ("mallory", "--clear-groups"),
        };
        command.args(["setpriv", "--reuid", name, "--regid", name, groups]);
        command
            .args([
                "bash",
                "-c",
                &format!("cd {}; {script}", self.sandbox.path("mallory").display()),
            ])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, by: By, script: &str) -> Output {
        self.command(by, script).output().unwrap()
    }

    /// What it printed, and complained of.
    fn said(&self, by: By, script: &str) -> String {
        let output = self.run(by, script);
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Root's: has to succeed.
    #[track_caller]
    fn root(&self, script: &str) -> String {
        let output = self.run(By::Root, &format!("set -e; {script}"));
        assert!(output.status.success(), "{script}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A handler, as the installation guide has it.
    fn handler(&self, name: &str, text: &str) {
        let path = self
            .sandbox
            .script("handler", &format!("#!/bin/bash\n{text}"));
        self.root(&format!(
            "install -m 755 {} /opt/self-heal/handlers/{name}.sh",
            path.display()
        ));
    }

    /// The command that posts an alert: it prints the answer's body, and its code in a line of its own.
    fn posting(&self, by: By, alert: &Alert, fields: &str) -> Command {
        let body = notification(&[alert]).to_string();
        let name = format!("{}.json", alert.fingerprint());
        let body = self.sandbox.write(&name, &body);
        let script = format!(
            "curl -s --noproxy '*' --max-time 60 -w '\\n%{{http_code}}' -H 'Content-Type: application/json' {fields} \
             --data-binary @{} http://127.0.0.1:{}/",
            body.display(),
            self.port
        );
        let mut command = self.command(by, &script);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn post(&self, by: By, alert: &Alert, fields: &str) -> String {
        let output = self.posting(by, alert, fields).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// As the sender may: the verdict has to be this one.
    #[track_caller]
    fn post_well(&self, alert: &Alert, verdict: &str) {
        let said = self.post(By::Root, alert, AUTHORIZED);
        let verdict = format!("\"verdict\":\"{verdict}\"");
        assert!(said.contains(&verdict), "{said}");
    }

    /// How often handlers were started.
    fn runs(&self) -> usize {
        let history = self.said(By::Root, "cat /var/lib/self-heal/history.jsonl");
        lines_with(&history, "\"event\":\"intent\"")
    }

    /// Every file of self-heal's: owner, mode, links, content.
    fn picture(&self) -> String {
        self.root(&format!(
            "find {PLACES} -printf '%p %y %m %u %g %n %s %T@ %l\\n' | sort; \
             find {PLACES} -type f -exec sha256sum {{}} + | sort -k2"
        ))
    }

    /// A script of the stranger's that must not change anything, nor see what it should not; what it said.
    #[track_caller]
    fn in_vain(&self, script: &str) -> String {
        let before = self.picture();
        let said = self.said(By::Stranger, script);
        assert!(!said.contains(SECRET), "{said}");
        assert_eq!(self.picture(), before, "{said}");
        said
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut listener) = self.listener.take() {
            put_down(listener.id().cast_signed());
            let _ = listener.wait();
        }
        put_down(self.keeper.id().cast_signed());
        let _ = self.keeper.wait();
    }
}

const TOKEN: &str = "HEAL_TOKEN_FILE=/etc/self-heal/token\nHEAL_MAX_ATTEMPTS=1\n";
const AUTHORIZED: &str = "-H 'Authorization: Bearer SECRET-of-mine-token'";

fn down() -> Alert {
    Alert::firing("Down", "web-1:9113")
}

/// One alert whose handler printed a secret, changed a file of root's and failed; its page could not be delivered.
fn lived_in(machine: &Machine) {
    machine.handler(
        "Down",
        "# self-heal: snapshot=/etc/app/app.conf\ncat /etc/self-heal/token\nexit 1\n",
    );
    let fails = machine.sandbox.script("fails", "#!/bin/sh\nexit 1\n");
    machine.root(&format!(
        "install -m 755 {} /opt/self-heal/escalate.d/pager",
        fails.display()
    ));
    machine.post_well(&down(), "tripped");
    until("its delivery has been tried", || {
        let log = machine.said(By::Root, "cat /var/log/self-heal/listener.log");
        log.contains("escalation_retry").then_some(())
    });
}

#[test]
fn a_stranger_reads_no_token_key_log_page_or_snapshot() {
    let machine = Machine::new(TOKEN);
    lived_in(&machine);
    let gate = Gate::new(&machine.sandbox, "gate");
    machine.handler(
        "Slow",
        &format!("token=$(</etc/self-heal/token)\n{}", gate.line()),
    );
    let slow = Alert::firing("Slow", "web-1");
    let posting = machine
        .posting(By::Root, &slow, AUTHORIZED)
        .spawn()
        .unwrap();
    gate.wait_for(1);
    // It is all there, for root.
    let there = machine.root(&format!("grep -rls {PATTERN} {PLACES} /etc/app"));
    for place in [
        "/etc/self-heal/token",
        "/etc/self-heal/pagerduty.key",
        "/var/log/self-heal/Down.log",
        "/var/lib/self-heal/spool/pending/",
        "/var/backups/self-heal/",
    ] {
        assert!(there.contains(place), "{place} in {there}");
    }
    let files = machine.root(&format!("find {PLACES}")).replace('\n', " ");
    let before = machine.root(&format!(
        "find {PLACES} -printf '%p %y %m %u %g %n %s\\n' | sort"
    ));
    let said = machine.said(
        By::Stranger,
        &format!(
            "for f in {files}; do
                cat $f; ln $f mine; ln -s $f link; cat mine link; cp -r $f copy; rm -rf mine link
            done
            grep -rs {PATTERN} {PLACES} copy /etc/app
            for p in /proc/[0-9]*; do
                [ -O $p ] && continue
                cat $p/environ $p/fd/* $p/cmdline $p/task/*/environ
                ls -l $p/cwd $p/exe
                dd if=$p/mem bs=1 count=1
            done 2>&1 | tr '\\0' '\\n' | grep -a {PATTERN}"
        ),
    );
    // The sender's own command line is the sender's to keep.
    let leaked = said.lines().filter(|line| line.contains(SECRET));
    let leaked: Vec<&str> = leaked
        .filter(|line| !line.contains("Authorization"))
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    assert!(said.contains("Permission denied"), "{said}");
    let after = machine.root(&format!(
        "find {PLACES} -printf '%p %y %m %u %g %n %s\\n' | sort"
    ));
    assert_eq!(before, after);
    gate.open();
    let output = posting.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("healed"));
}

#[test]
fn a_stranger_plants_nothing() {
    let machine = Machine::new(TOKEN);
    lived_in(&machine);
    let around = "/opt /etc /var/lib /var/log /var/backups /usr/local/bin";
    let places = machine.root(&format!("find {PLACES}; printf '%s\\n' {around}"));
    let places = machine.sandbox.write("places", &places);
    let said = machine.in_vain(&format!(
        "printf '#!/bin/sh\\nid >{own}/ran\\n' >own.sh; chmod 755 own.sh
        while read -r p; do
            # As a folder: a handler, a hook, an escalator, a lock, a record, an event, a log that is a link.
            for name in Down.sh Down.restored Evil.sh pager heal-Evil.lock host history.jsonl pauses listener.log new; do
                ln -s {own}/target $p/$name && echo planted $p/$name
                cp own.sh $p/$name && echo planted $p/$name
                ln own.sh $p/$name && echo planted $p/$name
                mkdir $p/$name && echo planted $p/$name
            done
            # As a file: written to, cut, replaced, given away, moved away.
            echo x >>$p && echo planted $p
            truncate -s 0 $p && echo planted $p
            mv -f own.sh $p && echo planted $p
            chmod 777 $p && echo planted $p
            chown mallory $p && echo planted $p
            mv $p $p.away && echo planted $p
            rm -rf $p && echo planted $p
            rmdir $p && echo planted $p
            touch -d @0 $p && echo planted $p
            setfacl -m u:mallory:rwx $p && echo planted $p
            setfattr -n user.x -v y $p && echo planted $p
        done <{places}
        # Already there, in a folder that is everybody's.
        mv /run/lock/self-heal /run/lock/mine && echo planted /run/lock
        rmdir /run/lock/self-heal && echo planted /run/lock",
        own = machine.sandbox.path("mallory").display(),
        places = places.display(),
    ));
    let planted: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("planted"))
        .collect();
    assert!(planted.is_empty(), "{planted:?}");
    assert!(said.contains("Permission denied"), "{said}");
    machine.handler("Other", "exit 0\n");
    machine.post_well(&Alert::firing("Other", "web-2"), "healed");
    assert!(!machine.sandbox.path("mallory/ran").exists());
}

#[test]
fn a_stranger_who_makes_the_lock_folder_first_gets_nothing_run() {
    let machine = Machine::new(TOKEN);
    machine.handler("Down", "exit 0\n");
    let first = [
        "mkdir -m 777 /run/lock/self-heal; touch /run/lock/self-heal/heal-Down.lock",
        "mkdir -m 777 lock; ln -s $PWD/lock /run/lock/self-heal",
        "ln -s /var/lib/self-heal /run/lock/self-heal",
        "mkfifo -m 666 /run/lock/self-heal",
    ];
    for script in first {
        machine.root("rm -rf /run/lock/self-heal");
        assert_eq!(machine.said(By::Stranger, script), "");
        machine.post_well(&down(), "error");
        assert_eq!(machine.runs(), 0, "{script}");
    }
    machine.root(&format!(
        "rm -rf /run/lock/self-heal; systemd-tmpfiles --create {PROJECT}/deploy/tmpfiles.d/self-heal.conf"
    ));
    machine.post_well(&down(), "healed");
}

#[test]
fn a_stranger_holds_no_lock() {
    let machine = Machine::new(TOKEN);
    lived_in(&machine);
    machine.handler("Other", "exit 0\n");
    let other = |instance| Alert::firing("Other", instance);
    machine.post_well(&other("web-1"), "healed");
    let places = machine
        .root(&format!("find {PLACES} /run/lock"))
        .replace('\n', " ");
    let script = format!(
        "for p in {places}; do exec {{fd}}<$p && flock -n $fd && echo held $p; done; echo done; exec cat"
    );
    let mut command = machine.command(By::Stranger, &script);
    let stranger = command
        .stdin(Stdio::piped())
        .stdout(fs::File::create(machine.sandbox.path("held")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it holds what it can", || {
        machine.sandbox.read("held").contains("done").then_some(())
    });
    let held = machine.sandbox.read("held");
    let closed = [
        "/run/lock/self-heal",
        "/var/lib",
        "/var/log",
        "/var/backups",
        "/etc/self-heal/token",
    ];
    let word = |line: &str| {
        closed
            .iter()
            .any(|place| line.starts_with(&format!("held {place}")))
    };
    assert!(!held.lines().any(word), "{held}");
    assert!(
        held.contains("held /opt/self-heal/handlers/Other.sh"),
        "{held}"
    );
    // What everybody may open is locked by nobody who heals.
    machine.post_well(&other("web-2"), "healed");
    machine.post_well(&other("web-2").resolved(), "resolved");
    stranger.wait_with_output().unwrap();
}

#[test]
fn a_stranger_signals_neither_handler_nor_supervisor_nor_listener() {
    let machine = Machine::new(TOKEN);
    let gate = Gate::new(&machine.sandbox, "gate");
    machine.handler("Down", &gate.line());
    let posting = machine
        .posting(By::Root, &down(), AUTHORIZED)
        .spawn()
        .unwrap();
    let handler = gate.wait_for(1);
    let healers = machine.root("pgrep -u healer").replace('\n', " ");
    assert!(healers.split(' ').count() >= 3, "{healers}");
    let said = machine.in_vain(&format!(
        "for pid in {healers}; do
            for signal in TERM KILL STOP HUP INT QUIT USR1; do kill -s $signal $pid && echo did $signal $pid; done
            kill -s KILL -- -$pid && echo did group $pid
            strace -p $pid -o trace && echo did trace $pid
            renice -n 19 -p $pid && echo did renice $pid
            prlimit --pid $pid --nofile=1 && echo did limit $pid
            echo 1000 >/proc/$pid/oom_score_adj && echo did oom $pid
        done"
    ));
    assert!(!said.contains("did "), "{said}");
    assert!(alive(handler));
    assert!(nix::sys::signal::kill(Pid::from_raw(handler), None).is_ok());
    gate.open();
    let output = posting.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("healed"));
}

#[test]
fn a_stranger_asks_in_vain() {
    for (lines, code) in [
        (TOKEN.to_owned(), "401"),
        ("HEAL_ALLOW_USERS=root\n".to_owned(), "403"),
        (format!("{TOKEN}HEAL_ALLOW_USERS=root\n"), "403"),
    ] {
        let machine = Machine::new(&lines);
        machine.handler("Down", "exit 0\n");
        for fields in [
            "",
            "-H 'Authorization: Bearer guess-of-mallory'",
            "-H 'Authorization: Basic bTptCg=='",
        ] {
            let said = machine.post(By::Stranger, &down(), fields);
            assert!(said.ends_with(&format!("\n{code}")), "{lines}{said}");
        }
        let scrape = format!(
            "for path in metrics -/ready x; do
                curl -s --noproxy '*' -o body -w '%{{http_code}} ' http://127.0.0.1:{}/$path
            done",
            machine.port
        );
        assert_eq!(
            machine.said(By::Stranger, &scrape),
            format!("{code} {code} {code} ")
        );
        if code == "403" {
            // The right token makes no other user of them.
            let said = machine.post(By::Stranger, &down(), AUTHORIZED);
            assert!(said.ends_with("\n403"), "{said}");
        }
        assert_eq!(machine.runs(), 0);
        machine.post_well(&down(), "healed");
    }
}

#[test]
fn a_stranger_who_holds_every_connection_open_keeps_nobody_out() {
    // As many as the listener takes at once (max-children), and more.
    const MANY: usize = 300;
    let machine = Machine::new("HEAL_ALLOW_USERS=root\n");
    machine.handler("Down", "exit 0\n");
    let script = format!(
        "for n in {{1..{MANY}}}; do exec {{fd}}<>/dev/tcp/127.0.0.1/{}; printf 'POST / HTTP/1.1\\r\\n' >&$fd; done 2>/dev/null
        echo open; exec cat",
        machine.port
    );
    let mut command = machine.command(By::Stranger, &script);
    let stranger = command
        .stdin(Stdio::piped())
        .stdout(fs::File::create(machine.sandbox.path("said")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("they are open", || {
        machine.sandbox.read("said").contains("open").then_some(())
    });
    machine.post_well(&down(), "healed");
    assert_eq!(machine.runs(), 1);
    stranger.wait_with_output().unwrap();
}

#[test]
fn a_stranger_does_not_take_the_port_over() {
    let machine = Machine::new(TOKEN);
    let own = machine.sandbox.write("own", "#!/bin/sh\ncat >taken\n");
    chmod(&own, 0o755);
    for bind in ["bind=127.0.0.1", "bind=0.0.0.0", "bind=127.0.0.2"] {
        let script = format!(
            "timeout 1 socat TCP4-LISTEN:{},{bind},reuseaddr,reuseport,fork EXEC:{}",
            machine.port,
            own.display()
        );
        let said = machine.said(By::Stranger, &script);
        // Another address of loopback is another place, where no sender posts to.
        assert_eq!(
            said.contains("Address already in use"),
            bind != "bind=127.0.0.2",
            "{bind}: {said}"
        );
    }
    machine.handler("Down", "exit 0\n");
    machine.post_well(&down(), "healed");
    assert!(!machine.sandbox.path("mallory/taken").exists());
}

#[test]
fn a_stranger_orders_nothing() {
    let machine = Machine::new(TOKEN);
    lived_in(&machine);
    let runs = machine.runs();
    let snapshot = machine.root("ls /var/backups/self-heal");
    assert!(!snapshot.is_empty());
    let id = machine.root(
        "grep -o '\"run_id\":\"[^\"]*' /var/lib/self-heal/history.jsonl | head -1 | cut -d'\"' -f4",
    );
    let id = id.trim();
    let guard = |what: &str| format!("guard {what} {id}");
    let orders = [
        "status",
        "status --json",
        "history",
        "history --verify",
        "metrics",
        "run Down web-1:9113 --force",
        "reset Down",
        "pause --reason mine",
        "resume",
        "drain",
        "drain --list",
        &guard("capture"),
        &guard("restore"),
        // What they may ask: what is in files that everybody may read, and what they may not see.
        "check",
        "explain Down web-1:9113",
    ];
    let asked = orders.len() - 2;
    // As they are; as root of a namespace of their own; through sudo.
    for before in ["", "unshare --user --map-root-user ", "sudo -n "] {
        let each = orders.map(|order| {
            format!("{before}/usr/local/bin/self-heal {order} >out 2>&1; echo code=$? of {order}; cat out\n")
        });
        let said = machine.in_vain(&each.concat());
        let codes: Vec<&str> = said
            .lines()
            .filter(|line| line.starts_with("code="))
            .collect();
        assert_eq!(codes.len(), orders.len(), "{said}");
        for code in &codes[..asked] {
            assert!(!code.starts_with("code=0 "), "{before}{code}: {said}");
        }
    }
    // Whoever names a configuration of their own has their own rights, and no more.
    let own = machine.sandbox.path("mallory").display().to_string();
    let said = machine.in_vain(&format!(
        "mkdir h s l k; printf '#!/bin/sh\\nid -u >{own}/uid\\n' >h/Down.sh; chmod 755 h/Down.sh; echo 'web-*' >a
        printf '%s\\n' HEAL_HANDLER_DIR={own}/h HEAL_STATE_DIR={own}/s HEAL_LOG_DIR={own}/l HEAL_LOCK_DIR={own}/k \
            HEAL_ALLOWED_INSTANCES={own}/a HEAL_SYSLOG=off >c
        HEAL_CONF={own}/c /usr/local/bin/self-heal run Down web-1"
    ));
    assert_eq!(
        machine.sandbox.read("mallory/uid"),
        format!("{STRANGER}\n"),
        "{said}"
    );
    assert_eq!(machine.runs(), runs);
}
