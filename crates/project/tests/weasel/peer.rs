//! The real weasel, in a process that answers requests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

pub(crate) struct Weasel {
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Weasel {
    /// Starts it, if the environment names a Python that has it.
    pub(crate) fn start() -> Option<Self> {
        let python = std::env::var_os("LARDER_WEASEL_PYTHON")?;
        let mut command = Command::new(python);
        command.args(["-c", include_str!("answer.py")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // The environment of the tests must not override anything.
        command.env_remove("WEASEL_CONFIG_OVERRIDES");
        let mut child = command.spawn().unwrap();
        let (questions, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Some(Self { child, questions, answers })
    }

    pub(crate) fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.questions.as_mut().unwrap(), "{question}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{question}: {error}: {answer}"))
    }
}

impl Drop for Weasel {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}
