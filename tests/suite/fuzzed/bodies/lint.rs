//! Whatever stands in somebody's YAML, the lint comes to an end, says the same each time, and points into the file.

use std::sync::LazyLock;

use self_heal::wire::config::{self, Config};
use self_heal::wire::directives::Directives;
use self_heal::wire::finding::Finding;
use self_heal::wire::lint::{self, Context, Handler, KINDS, Text};

/// Before it stands Alertmanager's configuration, behind it Prometheus' rules.
pub const BETWEEN: &str = "\n# rules\n";

const ALERTMANAGER: &str = "a.yml";
const RULES: &str = "r.yml";

static CONFIG: LazyLock<Config> = LazyLock::new(config::defaults);

pub fn body(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, rules) = text.split_once(BETWEEN).unwrap_or((&text, &text));
    let found = told(first, rules);
    for finding in &found {
        let named = finding.place.rsplit_once(':').unwrap();
        let text = match named.0 {
            ALERTMANAGER => first,
            RULES => rules,
            other => panic!("{other}"),
        };
        let line: usize = named.1.parse().unwrap();
        assert!((1..=lines(text)).contains(&line), "{}", finding.place);
        assert!(KINDS.iter().any(|kind| kind.name == finding.kind.name));
        for sentence in [&finding.what, &finding.mend] {
            assert!(!sentence.is_empty());
            assert!(!sentence.contains(char::is_control), "{sentence:?}");
        }
    }
    assert_eq!(said(&found), said(&told(first, rules)));
    let marked = [first, rules].map(|text| format!("\u{feff}{text}"));
    if ![first, rules]
        .iter()
        .any(|text| text.starts_with('\u{feff}'))
    {
        assert_eq!(said(&found), said(&told(&marked[0], &marked[1])));
    }
}

fn told(alertmanager: &str, rules: &str) -> Vec<Finding> {
    let handler = Handler::new("NginxDown", &Directives::default(), &CONFIG);
    let context = Context::new(&CONFIG, Some(vec![handler]));
    let alertmanager = Text {
        name: ALERTMANAGER,
        text: alertmanager,
    };
    let rules = Text {
        name: RULES,
        text: rules,
    };
    lint::lint(Some(alertmanager), &[rules], &context)
}

fn said(findings: &[Finding]) -> Vec<[&str; 4]> {
    findings
        .iter()
        .map(|found| [found.kind.name, &found.place, &found.what, &found.mend])
        .collect()
}

/// As YAML counts them: a carriage return by itself ends one too.
fn lines(text: &str) -> usize {
    1 + text.replace("\r\n", "\n").matches(['\n', '\r']).count()
}
