//! YAML as a tree that knows its lines: the first document, aliases and merge keys followed, every scalar as its
//! text. It refuses what Alertmanager and Prometheus refuse as well (a key given twice, an unknown alias), and
//! what could not be walked: too deep, too large, or so only once its aliases are followed.

use std::collections::BTreeMap;
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle};

use crate::wire::quote::quote;

/// Larger files are not configuration: a thousand rules are about half a megabyte.
const LARGEST: usize = 4 << 20;

/// Values, each alias counted with everything it stands for: "a billion laughs" ends here.
const MOST_NODES: usize = 200_000;

/// A text counts as one value more for each of these bytes: it may be copied where it is used.
const BYTES: usize = 100;

/// Lists and maps within one another, aliases followed. A tree of routes needs two a level.
const DEEPEST: usize = 64;

/// A document that could not be read: where, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: usize,
    pub(super) why: String,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Rc<Node>,
    /// The line of a second document, which no reader of the file looks at.
    pub(super) second: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    Text(String),
    List(Vec<Rc<Node>>),
    Map(BTreeMap<String, Entry>),
}

/// What stands behind a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The key's line.
    pub(super) line: usize,
    pub(super) node: Rc<Node>,
}

impl Node {
    /// What stands behind this key, unless it is nothing.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        let entry = self.map()?.get(key)?;
        (!matches!(entry.node.value, Value::Null)).then_some(entry)
    }

    pub(super) fn map(&self) -> Option<&BTreeMap<String, Entry>> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of the list behind a key; none when there is no list.
    pub(super) fn items(&self, key: &str) -> &[Rc<Node>] {
        match self.get(key).map(|entry| &entry.node.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text behind a key.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.node.text()
    }

    /// The truth value behind a key, as YAML 1.1 writes it (gopkg.in/yaml.v2 `resolve.go`).
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.text_of(key)? {
            "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
                Some(true)
            }
            "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off"
            | "OFF" => Some(false),
            _ => None,
        }
    }
}

/// Reads the first document.
pub(super) fn read(text: &str) -> Result<Document, Broken> {
    if text.len() > LARGEST {
        return Err(Broken {
            line: 1,
            why: format!("more than {LARGEST} bytes"),
        });
    }
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    let mut root = None;
    while let Some(next) = parser.next_event() {
        let (event, span) = match next {
            Ok(event) => event,
            // Behind the first document nobody reads.
            Err(_) if root.is_some() => break,
            Err(error) => {
                return Err(Broken {
                    line: error.marker().line().max(1),
                    why: error.info(),
                });
            }
        };
        let line = span.start.line().max(1);
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(..) if root.is_some() => {
                return Ok(document(root, Some(line)));
            }
            Event::DocumentEnd => root = builder.root.take().or(root),
            event => builder
                .take(event, line)
                .map_err(|why| Broken { line, why })?,
        }
    }
    Ok(document(root, None))
}

fn document(root: Option<Rc<Node>>, second: Option<usize>) -> Document {
    let empty = || {
        Rc::new(Node {
            line: 1,
            value: Value::Null,
        })
    };
    Document {
        root: root.unwrap_or_else(empty),
        second,
    }
}

/// A tree in the making.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// By the parser's number for an anchor.
    anchors: BTreeMap<usize, Anchor>,
    root: Option<Rc<Node>>,
    /// Nodes so far, aliases with what they stand for.
    nodes: usize,
}

struct Anchor {
    node: Rc<Node>,
    nodes: usize,
    height: usize,
}

/// A list or map that has not ended.
struct Open {
    line: usize,
    anchor: usize,
    /// Of the whole document when it began.
    nodes: usize,
    /// Of what is in it.
    height: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Rc<Node>>),
    Map {
        entries: BTreeMap<String, Entry>,
        merges: Vec<Rc<Node>>,
        key: Option<(String, usize)>,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let before = self.nodes;
                self.count(1 + text.len() / BYTES)?;
                let bare = style == ScalarStyle::Plain;
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if bare => Value::Null,
                    text => Value::Text(text.to_owned()),
                };
                self.put(Node { line, value }, anchor, before, 0)
            }
            Event::Alias(anchor) => self.alias(anchor),
            Event::SequenceStart(_, anchor, _) => {
                self.begin(line, anchor, Inside::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                let inside = Inside::Map {
                    entries: BTreeMap::new(),
                    merges: Vec::new(),
                    key: None,
                };
                self.begin(line, anchor, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MOST_NODES {
            return Err(format!(
                "more than {MOST_NODES} values, aliases counted with what they stand for"
            ));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize) -> Result<(), String> {
        let Some(found) = self.anchors.get(&anchor) else {
            return Err("an alias within what it stands for".to_owned());
        };
        let (node, nodes, height) = (found.node.clone(), found.nodes, found.height);
        self.count(nodes)?;
        self.check_depth(height)?;
        self.place(node, height)
    }

    fn check_depth(&self, height: usize) -> Result<(), String> {
        if self.open.len().saturating_add(height) > DEEPEST {
            return Err(format!("more than {DEEPEST} lists and maps in one another"));
        }
        Ok(())
    }

    fn begin(&mut self, line: usize, anchor: usize, inside: Inside) -> Result<(), String> {
        self.check_depth(1)?;
        let nodes = self.nodes;
        self.count(1)?;
        self.open.push(Open {
            line,
            anchor,
            nodes,
            height: 0,
            inside,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.inside {
            Inside::List(items) => Value::List(items),
            Inside::Map {
                mut entries,
                merges,
                ..
            } => {
                for merge in merges {
                    merged(&mut entries, &merge)?;
                }
                Value::Map(entries)
            }
        };
        let node = Node {
            line: open.line,
            value,
        };
        self.put(node, open.anchor, open.nodes, open.height + 1)
    }

    fn put(
        &mut self,
        node: Node,
        anchor: usize,
        before: usize,
        height: usize,
    ) -> Result<(), String> {
        let node = Rc::new(node);
        if anchor != 0 {
            let anchored = Anchor {
                node: node.clone(),
                nodes: self.nodes.saturating_sub(before),
                height,
            };
            self.anchors.insert(anchor, anchored);
        }
        self.place(node, height)
    }

    /// A whole node into what is open, or as the root.
    fn place(&mut self, node: Rc<Node>, height: usize) -> Result<(), String> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.height = open.height.max(height);
        match &mut open.inside {
            Inside::List(items) => items.push(node),
            Inside::Map {
                entries,
                merges,
                key,
            } => match key.take() {
                None => *key = Some((name(&node)?, node.line)),
                Some((key, _)) if key == "<<" => merges.push(node),
                Some((key, line)) => {
                    if let Some(first) = entries.get(&key) {
                        return Err(format!(
                            "{} is already given in line {}",
                            quote(&key),
                            first.line
                        ));
                    }
                    entries.insert(key, Entry { line, node });
                }
            },
        }
        Ok(())
    }
}

fn name(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Null => Ok(String::new()),
        Value::Text(text) => Ok(text.clone()),
        _ => Err("a key that is a list or a map".to_owned()),
    }
}

/// `<<`: what the map has not itself; of several maps the first that has it.
fn merged(entries: &mut BTreeMap<String, Entry>, from: &Node) -> Result<(), String> {
    match &from.value {
        Value::Map(others) => {
            for (key, entry) in others {
                entries.entry(key.clone()).or_insert_with(|| entry.clone());
            }
            Ok(())
        }
        Value::List(maps) if maps.iter().all(|map| map.map().is_some()) => {
            maps.iter().try_for_each(|map| merged(entries, map))
        }
        _ => Err("`<<` takes a map or a list of maps".to_owned()),
    }
}
