use super::*;

fn json(text: &str) -> String {
    parse(text).unwrap().unwrap().to_value(true).unwrap().to_json()
}

fn problem(text: &str) -> (usize, String) {
    let problem = parse(text).unwrap_err();
    (problem.line, problem.text)
}

#[test]
fn single_values_are_what_ruamel_takes_them_for() {
    let rows = [
        ("0b11", "3"),
        ("-0b1_1", "-3"),
        ("0o10", "8"),
        ("010", "10"),
        ("-0x1F", "-31"),
        ("0xffffffffffffffffffffffff", "79228162514264337593543950335"),
        ("1_000", "1000"),
        ("+3", "3"),
        ("-00", "0"),
        (".5", "0.5"),
        ("1.", "1.0"),
        ("1_0.5_0", "10.5"),
        (".5e3", "\".5e3\""),
        (".5e+3", "500.0"),
        ("1e3", "1000.0"),
        ("1e", "\"1e\""),
        ("-.INF", "-Infinity"),
        ("-.nan", "\"-.nan\""),
        ("12:30:45", "\"12:30:45\""),
        ("_1", "\"_1\""),
        ("0o8", "\"0o8\""),
        ("yes", "\"yes\""),
        ("TRUE", "true"),
        ("tRUE", "\"tRUE\""),
        ("Null", "null"),
        ("~", "null"),
        ("'1'", "\"1\""),
        ("!!str 1", "\"1\""),
        ("!!int '0x10'", "16"),
        ("!!bool yes", "true"),
        ("! 1", "\"1\""),
        ("2024-1-1", "\"2024-1-1\""),
        ("|\n a\n b", "\"a\\nb\\n\""),
    ];
    for (text, expected) in rows {
        assert_eq!(json(&format!("- {text}\n")), format!("[{expected}]"), "{text}");
    }
    for date in ["2024-01-01", "2024-1-1 1:02:03", "2024-01-01T01:02:03.5Z", "2024-01-01 01:02:03 +01:30"] {
        let node = parse(&format!("- {date}\n")).unwrap().unwrap();
        assert!(node.to_value(true).unwrap_err().text.contains("is a date"), "{date}");
    }
    for sign in ["=", "<<"] {
        let node = parse(&format!("- {sign}\n")).unwrap().unwrap();
        assert!(node.to_value(true).is_err(), "{sign}");
        assert_eq!(json(&format!("- '{sign}'\n- {{=: 1}}\n")), format!("[\"{sign}\", {{\"=\": 1}}]"));
    }
    for text in ["0b_", "+", "._"] {
        let text = format!("- {text}\n");
        // A single sign is a text; the others look like numbers.
        assert_eq!(parse(&text).is_err(), text != "- +\n", "{text}");
    }
}

#[test]
fn merge_keys_give_way_and_duplicate_keys_are_refused() {
    let text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {<<: [*a, *b], z: 5}\n";
    assert_eq!(
        json(text),
        "{\"a\": {\"x\": 1, \"y\": 2}, \"b\": {\"y\": 3, \"z\": 4}, \"c\": {\"y\": 2, \"z\": 5, \"x\": 1}}"
    );
    assert_eq!(problem("a: 1\n\na: 2\n"), (3, "the key `a` stands twice".to_owned()));
    assert_eq!(problem("a: {<<: 1}\n").1, "`<<` takes a mapping, or a list of mappings");
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (text, line) in [
        ("a: [1\n", 2),
        ("a: 1\n b: 2\n", 2),
        ("a: *unknown\n", 1),
        ("a: 1\n---\nb: 1\n", 2),
        ("a: 1\nb: \u{7}\n", 2),
        ("a: !mine 1\n", 1),
        ("a: &a [*a]\n", 1),
        ("? [1]\n: 2\n", 1),
    ] {
        assert_eq!(problem(text).0, line, "{text}");
    }
}

#[test]
fn aliases_of_aliases_end_soon() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..50 {
        let before = format!("*a{}", level - 1);
        let row = [before.as_str(); 10].join(", ");
        text = format!("{text}a{level}: &a{level} [{row}]\n");
    }
    assert!(problem(&text).1.contains("too large"));
    for deep in ["[", "- ", "{a: ", "? "] {
        assert!(parse(&deep.repeat(50_000)).is_err(), "{deep}");
    }
}

#[test]
fn nothing_is_no_document() {
    for text in ["", "# a comment\n", "\n\n"] {
        assert!(parse(text).unwrap().is_none(), "{text:?}");
    }
    assert!(parse("---\n").unwrap().is_none_or(|node| node.is_null()));
}
