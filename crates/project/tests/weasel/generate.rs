//! Random projects and locks.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// Values in YAML syntax: some that ruamel reads in a special way, and some that JSON does not quote.
const SCALARS: [&str; 48] = [
    "1",
    "-1",
    "007",
    "0",
    "-0",
    "1.0",
    "5e-5",
    "1e16",
    "1E5",
    ".5",
    "1.",
    "+3",
    "0b11",
    "0o17",
    "0x1F",
    "1_000",
    "12:30:45",
    "3.14159265358979",
    "123456789012345678901234567890",
    "1e-7",
    "-0.0",
    ".inf",
    "true",
    "False",
    "NULL",
    "~",
    "yes",
    "off",
    "text",
    "'quoted'",
    "\"a b\"",
    "\"\\u00fc 😀\"",
    "''",
    "'1'",
    "' pad '",
    "\"it's\"",
    "'100%'",
    "'a: b # c'",
    "a/b",
    "x-y_z",
    "'[1]'",
    "'null'",
    "\"a\\\\b\"",
    "[1, 2.5, x]",
    "[a, [b, null]]",
    "[]",
    "'-'",
    "0.1",
];

/// Values that break surrounding quotes, or are refused.
const WILD: [&str; 14] = [
    "'say \"hi\"'",
    "\"a\\tb\"",
    "\"a\\nb\"",
    "'a$b'",
    "'$x'",
    "{k: v}",
    "2024-01-01",
    "'a\", \"b'",
    "'${vars.v0}'",
    "'${nowhere}'",
    "'${project.title}$'",
    "'$${vars.v0}'",
    "'x ${vars.v0} $y'",
    "[\"${vars.v0}\", \"${vars.v1}$\"]",
];

const PIECES: [&str; 16] = [
    "python run.py ",
    " --lr ",
    "$HOME",
    "$$",
    "'{print $1}'",
    " ",
    "5",
    "ü😀 ",
    "a\\b",
    "\"q\"",
    "\t",
    "\n",
    "%(x)s",
    "-",
    ", ",
    "{}",
];

const VALUES: [&str; 14] = [
    "1",
    "0.25",
    "5e-5",
    "true",
    "null",
    "[1, 2]",
    "\"q\"",
    "abc",
    "",
    "-",
    "01",
    "a b",
    "ü",
    "0.6074379962852603",
];

pub(crate) struct Generator {
    rng: Rng,
    is_wild: bool,
}

/// A generated project, and the options for reading it.
#[derive(Default)]
pub(crate) struct Made {
    pub(crate) overrides: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), is_wild: false }
    }

    pub(crate) fn wild(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), is_wild: true }
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.rng.usize(..end)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn choose<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let place = self.below(from.len());
        from[place]
    }

    fn scalar(&mut self) -> &'static str {
        if self.is_wild && self.one_in(4) { self.choose(&WILD) } else { self.choose(&SCALARS) }
    }

    /// Writes a project and its files.
    pub(crate) fn project(&mut self, root: &Path) -> Made {
        let (vars, mut yml) = self.variables();
        let mut environment = BTreeMap::new();
        yml.push_str("env:\n");
        for index in 0..2 {
            let name = format!("LARDER_TEST_{index}");
            yml.push_str(&["  e", &index.to_string(), ": ", &name, "\n"].concat());
            // Always set it, because the peer process keeps earlier values.
            environment.insert(name, self.choose(&VALUES).to_owned());
        }
        let files = self.files(root);
        yml.push_str("directories: [made, dir/sub, out0]\ncommands:\n");
        for index in 0..=self.below(4) {
            let script: Vec<String> = (0..self.below(4)).map(|_| self.line(&vars)).collect();
            let deps: Vec<String> = (0..self.below(4)).map(|_| self.dep(&files)).collect();
            let mut outputs: Vec<String> = (0..=self.below(3)).map(|_| self.output(&vars)).collect();
            outputs.dedup();
            let command = json!({
                "name": format!("c{index}"), "script": script, "deps": deps, "outputs": outputs,
            });
            yml.push_str(&["- ", &command.to_string(), "\n"].concat());
        }
        fs::write(root.join("project.yml"), yml).unwrap();
        let mut overrides = Vec::new();
        if self.one_in(3) {
            let value = self.choose(&VALUES);
            match self.below(3) {
                0 => overrides.extend(["--vars.v0".to_owned(), value.to_owned()]),
                1 => overrides.push(format!("--vars.v1={value}")),
                _ => overrides.extend(["--vars.v0".to_owned(), "--vars.new=2".to_owned()]),
            }
        }
        Made { overrides, environment }
    }

    /// Returns the paths of variables, and the text of the section.
    fn variables(&mut self) -> (Vec<String>, String) {
        let mut names = Vec::new();
        let mut text = "title: T\nvars:\n".to_owned();
        for index in 0..3 {
            let value = self.scalar();
            text.push_str(&["  v", &index.to_string(), ": ", value, "\n"].concat());
            names.push(format!("vars.v{index}"));
        }
        let value = self.scalar();
        text.push_str(&["  nested: {deep: {x: ", value, "}, y: 2}\n"].concat());
        names.push("vars.nested.deep.x".to_owned());
        for index in 3..5 {
            let of = self.below(names.len());
            let value = match self.below(3) {
                0 => format!("${{{}}}", names[of]),
                1 => format!("<${{{}}}>", names[of]),
                _ => format!("${{{}}} ${{vars.v0}}", names[of]),
            };
            text.push_str(&["  v", &index.to_string(), ": \"", &value, "\"\n"].concat());
            names.push(format!("vars.v{index}"));
        }
        names.extend(["env.e0", "env.e1", "vars:v0", "title", "project.title"].map(ToOwned::to_owned));
        (names, text)
    }

    fn line(&mut self, vars: &[String]) -> String {
        let mut line = String::new();
        for _ in 0..self.below(5) {
            if self.one_in(2) {
                let name = &vars[self.rng.usize(..vars.len())];
                line.push_str(&["${", name, "}"].concat());
            } else {
                line.push_str(self.choose(&PIECES));
            }
        }
        line
    }

    fn output(&mut self, vars: &[String]) -> String {
        match self.below(12) {
            0 => format!("o/${{{}}}", vars[self.rng.usize(..3)]),
            // Weasel does not refuse what larder refuses.
            place => [
                "out0",
                "out0/",
                "out1",
                "./out1",
                "out1/inner",
                "out1//inner",
                "empty",
                "file",
                "./file",
                "absent",
                "link",
            ][place - 1]
                .to_owned(),
        }
    }

    fn dep(&mut self, files: &[String]) -> String {
        let path = files[self.rng.usize(..files.len())].clone();
        match self.below(8) {
            0 => format!("./{path}"),
            1 => format!("{path}/"),
            2 => format!("dir/../{path}"),
            3 => "made".to_owned(),
            4 if self.one_in(3) => "missing".to_owned(),
            _ => path,
        }
    }

    /// Creates files, directories and links, and returns possible dependencies. Only directories are named with a trailing
    /// slash, because other paths would be missing then.
    fn files(&mut self, root: &Path) -> Vec<String> {
        let write = |path: &str, data: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, data).unwrap();
        };
        for path in [
            "a",
            "b.txt",
            "dir/x",
            "dir/y",
            "dir-b",
            "dir.txt",
            "dir/aa/x",
            "dir/aa!",
            "out1/inner/z",
            "out1/w",
            "file",
        ] {
            let data = self.below(1_000).to_string();
            write(path, &data);
        }
        if self.one_in(2) {
            write("out0/f", "f");
        }
        fs::create_dir_all(root.join("empty/sub")).unwrap();
        symlink("dir", root.join("link")).unwrap();
        symlink("../a", root.join("dir/to-a")).unwrap();
        symlink("nowhere", root.join("dir/dangling")).unwrap();
        symlink("b.txt", root.join("link.txt")).unwrap();
        ["a", "b.txt", "dir", "dir-b", "dir.txt", "dir/x", "link", "link.txt", "empty", "dir/aa"]
            .map(ToOwned::to_owned)
            .into()
    }

    /// Lock entries of other programs: any JSON values.
    pub(crate) fn entries(&mut self) -> Value {
        let mut entries = Map::new();
        for _ in 0..self.below(3) {
            let key = self.text();
            entries.insert(key, self.value(0));
        }
        Value::Object(entries)
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth > 3 { 6 } else { 9 }) {
            0 => Value::Null,
            1 => Value::Bool(self.one_in(2)),
            2 => json!(self.rng.i64(..)),
            3 => json!([0.5, 1e-7, 1e16, -2.25, 123.0][self.below(5)]),
            4 | 5 => Value::String(self.text()),
            6 => (0..self.below(4)).map(|_| self.value(depth + 1)).collect(),
            _ => {
                let mut map = Map::new();
                for _ in 0..self.below(4) {
                    let key = self.text();
                    map.insert(key, self.value(depth + 1));
                }
                Value::Object(map)
            }
        }
    }

    /// Returns a text that is difficult for YAML.
    pub(crate) fn text(&mut self) -> String {
        const WORDS: [&str; 52] = [
            "word",
            "ü",
            "日本語",
            "😀",
            "'",
            "\"",
            "\\",
            ":",
            ": ",
            "#",
            " #",
            "-",
            "- ",
            "?",
            "? ",
            "!",
            "&",
            "*",
            "|",
            ">",
            "%",
            "@",
            "`",
            "[",
            "]",
            "{",
            "}",
            ",",
            "123",
            "1e5",
            "0x1",
            "true",
            "null",
            "~",
            "=",
            "<<",
            "2024-01-01",
            "\n",
            "\t",
            "  ",
            "   ",
            "---",
            "...",
            "\u{7}",
            "\u{1b}",
            "\u{feff}",
            "\u{a0}",
            "\u{7f}",
            "\r",
            "/",
            "$x",
            "yes",
        ];
        let mut text = String::new();
        let count = if self.one_in(6) { 60 } else { 6 };
        for _ in 0..self.below(count) {
            text.push_str(self.choose(&WORDS));
            if self.one_in(2) {
                text.push(' ');
            }
            if self.one_in(8) {
                let len = self.below(30);
                text.push_str(&"x".repeat(len));
            }
        }
        text
    }
}
