//! JSON as strictly as RFC 8259 allows: one value, valid UTF-8, no key twice (section 4 calls
//! that unpredictable; two readers of one alert must never see two alerts), bounded depth. It
//! keeps every value as the sender spelled it and refuses to interpret one: no tree is built, so
//! a hostile body costs little more memory than its own length.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor,
};
pub use serde_json::value::RawValue;

use super::quote::quote;

/// Checks that the bytes are exactly one JSON value with no duplicate key anywhere, nested less
/// than 128 deep (serde_json's recursion limit; genuine payloads nest 4 deep).
///
/// # Errors
/// One sentence with line and column, and of the text at most a short printable key.
pub fn check(bytes: &[u8]) -> Result<&RawValue, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("not UTF-8: a broken character at byte {}", e.valid_up_to()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    Strict
        .deserialize(&mut reader)
        .map_err(|e| format!("not valid JSON: {e}"))?;
    reader.end().map_err(|e| format!("not valid JSON: {e}"))?;
    serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"))
}

/// A member of an object: its name, escapes resolved, and its value.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The members of an object in the sender's order; `None` when the value is no object.
pub fn members(value: &RawValue) -> Option<Vec<Member<'_>>> {
    serde_json::from_str::<Members<'_>>(value.get())
        .ok()
        .map(|members| members.0)
}

/// The elements of an array; `None` when the value is no array.
pub fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// The text of a string, escapes resolved; `None` when the value is no string.
pub fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// A whole number from 0 to 2^64-1 written without point or exponent; else `None`.
pub fn unsigned(value: &RawValue) -> Option<u64> {
    serde_json::from_str(value.get()).ok()
}

/// Whether the value is `null`.
pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// What sort of value it is, with its article, for a sentence.
pub fn kind(value: &RawValue) -> &'static str {
    match value.get().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Walks a value of any sort and keeps nothing of it.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element_seed(Strict)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(Name(key)) = object.next_key()? {
            if seen.contains(&key) {
                // Ends in a quote, so that serde_json cannot take a key's text for a position.
                return Err(A::Error::custom(format!("duplicate key {}", quote(&key))));
            }
            seen.insert(key);
            object.next_value_seed(Strict)?;
        }
        Ok(())
    }
}

/// A name as it stands in the text, copied only where it has escapes to resolve.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'a>(Vec<Member<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = object.next_entry()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        reader.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_of_any_sort_passes_as_it_was_spelled() {
        for good in [
            r#"{"a":[1,-2,1.50,1e3,18446744073709551615],"b":{"a":null,"c":true}}"#,
            "[]",
            "null",
            r#""\u0000\ud83d\ude00""#,
            "12345678901234567890123",
        ] {
            let padded = format!(" \r\n\t{good}\n");
            assert_eq!(check(padded.as_bytes()).unwrap().get(), good);
        }
    }

    #[test]
    fn a_key_twice_is_refused_at_any_depth_and_however_it_is_spelled() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"[{"x":{"a":1,"b":2,"a":3}}]"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            let error = check(bad.as_bytes()).unwrap_err();
            assert!(
                error.contains("duplicate key `a` at line 1 column "),
                "{error}"
            );
        }
        assert!(check(br#"[{"a":1},{"a":{"a":1}}]"#).is_ok());
    }

    #[test]
    fn a_key_cannot_forge_a_position_or_a_line() {
        let key = r" at line 7 column 9\n\u001b[31m";
        let error = check(format!(r#"{{"{key}":1,"{key}":2}}"#).as_bytes()).unwrap_err();
        assert!(error.contains("` at line 1 column "), "{error}");
        assert!(!error.contains(['\n', '\x1b']), "{error}");
    }

    #[test]
    fn what_is_not_one_json_text_is_refused() {
        let deep = "[".repeat(100_000);
        for bad in [
            "",
            " ",
            "{",
            "{}{}",
            "{} x",
            "{'a':1}",
            "[1,]",
            "01",
            "+1",
            "NaN",
            "1e999",
            "\u{feff}{}",
            "\"\x01\"",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            r#""\x""#,
            r#"{"a"}"#,
            r#"{1:2}"#,
            "tru",
            &deep,
        ] {
            let error = check(bad.as_bytes()).unwrap_err();
            assert!(
                error.starts_with("not valid JSON: ") && error.contains(" at line "),
                "{bad}: {error}"
            );
        }
        assert_eq!(
            check(b"{\"a\":\"\xff\"}").unwrap_err(),
            "not UTF-8: a broken character at byte 6"
        );
        assert!(check(b"\xff").is_err());
        assert!(check(b"\"\xed\xa0\x80\"").is_err(), "a surrogate in UTF-8");
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(check(nested(127).as_bytes()).is_ok());
        assert!(
            check(nested(128).as_bytes())
                .unwrap_err()
                .contains("recursion limit")
        );
    }

    #[test]
    fn views_answer_for_their_own_sort_only() {
        let object = check(br#"{"b": 1 , "a":"x\n","c":[1, {"z":2}]}"#).unwrap();
        let members = members(object).unwrap();
        let spelled: Vec<_> = members.iter().map(|(k, v)| (k.as_ref(), v.get())).collect();
        assert_eq!(
            spelled,
            [("b", "1"), ("a", r#""x\n""#), ("c", r#"[1, {"z":2}]"#)]
        );
        let [(_, one), (_, string), (_, array)] = members.as_slice() else {
            panic!()
        };
        assert_eq!(text(string).as_deref(), Some("x\n"));
        assert_eq!(elements(array).unwrap().len(), 2);
        assert_eq!(unsigned(one), Some(1));
        assert!(text(one).is_none() && elements(one).is_none() && super::members(array).is_none());
        assert!(unsigned(string).is_none() && elements(object).is_none());
        for bad in ["-1", "1.0", "1e0", "18446744073709551616", "null", "\"1\""] {
            assert_eq!(unsigned(check(bad.as_bytes()).unwrap()), None, "{bad}");
        }
    }

    #[test]
    fn sorts_have_names() {
        for (value, name) in [
            ("{}", "an object"),
            ("[]", "an array"),
            ("\"\"", "a string"),
            ("true", "a boolean"),
            ("false", "a boolean"),
            ("null", "null"),
            ("-1", "a number"),
            ("0", "a number"),
        ] {
            assert_eq!(kind(check(value.as_bytes()).unwrap()), name);
        }
    }
}
