//! The `--json` document without the values that differ between runs.

use serde_json::Value;

use crate::sandbox::Sandbox;

/// Replaces the sandbox's directories and every digest with placeholders, so that tests can compare whole documents. The
/// `bytes` of an object depend on the codec's version and become `0`.
pub fn redact(mut document: Value, sandbox: &Sandbox) -> Value {
    visit(&mut document, sandbox);
    document
}

fn visit(value: &mut Value, sandbox: &Sandbox) {
    match value {
        Value::String(text) => *text = redact_text(text, sandbox),
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, sandbox)),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                if name == "bytes" && member.is_u64() {
                    *member = Value::from(0);
                }
                visit(member, sandbox);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn redact_text(text: &str, sandbox: &Sandbox) -> String {
    let text = text.replace(sandbox.root().to_str().unwrap(), "SANDBOX");
    let mut redacted = String::new();
    let mut hex = String::new();
    for letter in text.chars().chain(['\0']) {
        if matches!(letter, '0'..='9' | 'a'..='f') {
            hex.push(letter);
            continue;
        }
        redacted.push_str(if hex.len() == 32 || hex.len() == 64 { "HEX" } else { &hex });
        hex.clear();
        redacted.push(letter);
    }
    redacted.pop();
    redacted
}
