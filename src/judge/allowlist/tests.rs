use super::*;
use proptest::prelude::*;

fn admits(list: &str, instance: &str) -> bool {
    AllowList::parse(list).admits(instance, "A").is_some()
}

#[test]
fn substring_whitelist_an_entry_matches_whole_hosts_only() {
    assert!(admits("web-10", "web-10"));
    for other in [
        "web-1",
        "web-100",
        "eb-10",
        "xweb-10",
        "",
        ".",
        "web-10.lan",
        "WEB-10",
        "web-10,web-1",
    ] {
        assert!(!admits("web-10", other), "{other}");
    }
}

#[test]
fn port_never_matches_an_entry_without_a_port_matches_the_host() {
    assert!(admits("web1", "web1:9100") && admits("web1", "web1"));
    assert!(admits("web1.lan", "web1.lan:9113"));
    assert!(admits("web1:9100", "web1:9100"));
    for other in ["web1", "web1:9101", "web1:910", "web1:91000"] {
        assert!(!admits("web1:9100", other), "{other}");
    }
    for other in [
        "web1:",
        "web1:http",
        "web1:9100x",
        "web1:123456",
        "web1:9100:1",
        "web1:-1",
        ":9100",
    ] {
        assert!(!admits("web1", other), "{other}");
    }
}

#[test]
fn ipv6_literals() {
    for entry in ["::1", "[::1]"] {
        for instance in ["::1", "[::1]", "[::1]:9100"] {
            assert!(admits(entry, instance), "{entry} {instance}");
        }
        for other in [
            "[::1]x", "[::1]:", "[::1", "::1]", "[::11]", "::1:9100", "[[::1]]",
        ] {
            assert!(!admits(entry, other), "{entry} {other}");
        }
    }
    assert!(admits("[::1]:9100", "[::1]:9100"));
    assert!(!admits("[::1]:9100", "[::1]:9101") && !admits("[::1]:9100", "[::1]"));
    assert!(admits("fe80::1%eth0", "[fe80::1%eth0]:9100"));
    assert!(admits("fe80::*", "[fe80::ab]:9100") && !admits("fe80::*", "[fe80::a:b]:9100"));
    assert!(
        !admits("web1", "[web1]:9100"),
        "brackets hold addresses only"
    );
}

#[test]
fn instances_that_are_urls_are_compared_whole() {
    assert!(admits("https://shop.lan/health", "https://shop.lan/health"));
    assert!(admits("https://*.lan/health", "https://shop.lan/health"));
    assert!(!admits("https", "https://shop.lan/health"));
}

#[test]
fn stars() {
    for (pattern, instance) in [
        ("*", "web1"),
        ("*", "web1:9100"),
        ("web*", "web"),
        ("web*", "web12:9100"),
        ("*.lan", "a.lan:1"),
        ("*:9100", "web1:9100"),
        ("web1:*", "web1:9100"),
        ("web1:91*", "web1:9100"),
        ("*:*", "a:1"),
        ("w*b*1", "wxbxb1"),
        ("**", "x"),
        ("10.0.*.*", "10.0.3.4:9100"),
        ("a*a", "aa"),
        ("*-*-*", "a--"),
    ] {
        assert!(admits(pattern, instance), "{pattern} {instance}");
    }
    for (pattern, instance) in [
        ("*", "web1.lan"),
        ("*.lan", "a.b.lan"),
        ("*.lan", "lan"),
        ("*:9100", "web1"),
        ("*:9100", "a.b:9100"),
        ("web1:*", "web1"),
        ("a*a", "a"),
        ("w*b*1", "wb1x"),
        ("*", ""),
        ("*", ":9100"),
        ("*:9100", ":9100"),
        ("*a", "a\n"),
        ("web*", "xweb"),
    ] {
        assert!(!admits(pattern, instance), "{pattern} {instance}");
    }
}

#[test]
fn whitelist_option_injection_odd_instances_never_match() {
    let long = "a".repeat(513);
    for instance in [
        "-V",
        "--help",
        "-",
        "a b",
        "a\tb",
        "a\nb",
        "a\0",
        "\u{1b}",
        "a\u{a0}b",
        "a\u{2028}b",
        "a\u{85}",
        &long,
    ] {
        assert!(!admits("*", instance), "{instance:?}");
        assert!(!admits(instance, instance), "{instance:?}");
    }
    assert!(admits("*", &long[1..]));
}

#[test]
fn comments_blanks_crlf_and_byte_order_mark() {
    let list = AllowList::parse(
        "\u{feff}web1\r\n\r\n  # all of it: web9\r\n\tweb2  # spare\r\nweb#3\r\nweb4 #A",
    );
    assert_eq!(list.problems(), []);
    for (instance, line) in [
        ("web1", Some(1)),
        ("web9", None),
        ("web2", Some(4)),
        ("web#3", Some(5)),
        ("web4", Some(6)),
    ] {
        assert_eq!(list.admits(instance, "A"), line, "{instance}");
    }
}

#[test]
fn the_second_column_narrows() {
    let list = AllowList::parse("web1 NginxDown,DiskFull\nweb*\tPing # c\nweb1:9100 Exact\n");
    for (instance, name, line) in [
        ("web1", "NginxDown", Some(1)),
        ("web1:9100", "DiskFull", Some(1)),
        ("web1", "Nginx", None),
        ("web1", "nginxdown", None),
        ("web1", "", None),
        ("web1", "NginxDown,DiskFull", None),
        ("web1", "Ping", Some(2)),
        ("web7:1", "Ping", Some(2)),
        ("web1:9100", "Exact", Some(3)),
        ("web1", "Exact", None),
    ] {
        assert_eq!(list.admits(instance, name), line, "{instance} {name}");
    }
}

#[test]
fn the_first_admitting_line_is_named() {
    let list = AllowList::parse("w*\nweb1 Other\nweb1\nweb1:9100");
    assert_eq!(list.admits("web1:9100", "A"), Some(1));
    let list = AllowList::parse("web1 Other\nweb1:9100\nweb1\nw*");
    assert_eq!(list.admits("web1:9100", "A"), Some(2));
    assert_eq!(list.admits("web1:9100", "Other"), Some(1));
}

#[test]
fn malformed_lines_admit_nothing_and_are_named() {
    let long = "a".repeat(513);
    for bad in [
        "web1 A, B",
        "web1 A B",
        "web1 A,,B",
        "web1 ,",
        "web1 a/b",
        "-web1",
        "[web1]",
        "[::1",
        "[::1]:",
        "[::1]x",
        "web1\u{a0}A",
        "web1\0",
        ":9100",
        &long,
        "web1 *",
    ] {
        let list = AllowList::parse(&format!("ok\n{bad}\n"));
        assert_eq!(
            list.problems().iter().map(|p| p.line).collect::<Vec<_>>(),
            [2],
            "{bad}"
        );
        for instance in ["web1", "[::1]", "::1", "web1:9100", bad] {
            assert_eq!(list.admits(instance, "A"), None, "{bad}");
        }
        assert_eq!(list.admits("ok", "A"), Some(1));
    }
}

#[test]
fn an_empty_list_allows_nothing() {
    for text in ["", "\n\n", "# web1\n", "\u{feff}", "-x"] {
        let list = AllowList::parse(text);
        assert!(list.is_empty());
        assert!(
            ["web1", "", "*"]
                .iter()
                .all(|i| list.admits(i, "A").is_none())
        );
    }
}

#[test]
fn large_lists_and_hostile_patterns_stay_cheap() {
    let mut text: String = (0..10_000).map(|i| format!("host-{i}.lan A,B\n")).collect();
    text.push_str(&format!("{}b\n", "*a".repeat(250)));
    let list = AllowList::parse(&text);
    assert_eq!(list.admits("host-9999.lan:9100", "B"), Some(10_000));
    // An exponential matcher would not come back from this one.
    assert_eq!(list.admits(&"a".repeat(512), "A"), None);
}

/// The definition, written down: at every `*`, try each run.
fn reference(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len())
            .take_while(|n| !text[..*n].iter().any(|c| SEPARATORS.contains(c)))
            .any(|n| reference(rest, &text[n..])),
        Some((c, rest)) => text.first() == Some(c) && reference(rest, &text[1..]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn stars_match_as_defined(pattern in "[ab*.:]{0,8}", text in "[ab.:]{0,10}") {
        let chars = |s: &str| s.chars().collect::<Vec<_>>();
        prop_assert_eq!(glob(&pattern, &text), reference(&chars(&pattern), &chars(&text)));
    }

    #[test]
    fn an_entry_admits_itself_and_no_neighbour(host in "[a-z][a-z0-9-]{0,8}(\\.[a-z]{1,4})?", port in 1_u16.., extra in "[a-z0-9]") {
        let list = AllowList::parse(&host);
        prop_assert_eq!(list.admits(&host, "A"), Some(1));
        prop_assert_eq!(list.admits(&format!("{host}:{port}"), "A"), Some(1));
        prop_assert_eq!(list.admits(&format!("{host}{extra}"), "A"), None);
        prop_assert_eq!(list.admits(&format!("{extra}{host}"), "A"), None);
    }

    #[test]
    fn any_text_is_answered(list in "\\PC{0,60}|[a*.:\\[\\] #,\n-]{0,60}", instance in "\\PC{0,20}|[a*.:\\[\\]-]{0,12}") {
        let _ = AllowList::parse(&list).admits(&instance, "A");
    }
}
