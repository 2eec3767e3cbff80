//! A project: the contents of its `project.yml`.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use larder_tree::{Symlinks, read_project_file};

use crate::error::{Error, Result, SourceLine};
use crate::interpolate::{self, Interpolated};
use crate::overrides::Overrides;
use crate::schema;
use crate::value::{Map, Value};
use crate::yaml::{self, Node};

/// The size limit of `project.yml` and `project.lock`, in bytes. A thousand commands take about 500 KiB.
pub(crate) const MAX_FILE_BYTES: u64 = 16 << 20;

/// A weasel or spaCy project.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Project {
    /// Its directory.
    pub root: PathBuf,
    /// The directories that must exist before a command runs.
    pub directories: Vec<String>,
    /// Its remotes.
    pub remotes: Vec<ProjectRemote>,
    /// The commands, in the order of the file.
    pub commands: Vec<ProjectCommand>,
    /// The workflows, and the commands that they run.
    pub workflows: Vec<(String, Vec<String>)>,
    /// The overrides (`vars.seed`) without effect, because the project neither has nor uses such a variable.
    pub idle_overrides: Vec<String>,
}

/// A remote of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectRemote {
    /// Its name.
    pub name: String,
    /// Its URL or path. If the value is not a string, `Err` has its JSON.
    pub location: Result<String, String>,
    /// The line of the file.
    pub place: SourceLine,
}

/// A command of a project, with its variables replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectCommand {
    /// Its name.
    pub name: String,
    /// The lines that it runs.
    pub script: Vec<String>,
    /// The files and directories that it reads.
    pub deps: Vec<String>,
    /// The files and directories that it makes, and that are pushed to remotes.
    pub outputs: Vec<String>,
    /// The files and directories that it makes, and that are not pushed.
    pub outputs_no_cache: Vec<String>,
    /// Whether it runs even if nothing has changed.
    pub no_skip: bool,
}

impl ProjectCommand {
    /// Returns a command without a script.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets the lines to run.
    #[must_use]
    pub fn with_script(mut self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.script = lines.into_iter().map(Into::into).collect();
        self
    }
}

impl Project {
    /// The name of the file that makes a directory a project.
    pub const FILE: &str = "project.yml";

    /// Reads the project in the directory `root`. `environment` looks up the environment variables that the
    /// project's `env` names.
    ///
    /// # Errors
    ///
    /// There is no project, or weasel could not use it. The error names the file, the line, and the key or variable.
    pub fn read(
        root: &Path,
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let path = root.join(Self::FILE);
        let bytes =
            read_project_file(&path, MAX_FILE_BYTES, Symlinks::Follow).map_err(|source| {
                match source.kind() {
                    io::ErrorKind::NotFound => Error::NoProject { path: path.clone() },
                    io::ErrorKind::InvalidInput
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::FileTooLarge => Error::NotAFile { path: path.clone(), source },
                    _ => Error::Read { path: path.clone(), source },
                }
            })?;
        Self::parse(&utf8(bytes, &path)?, root, overrides, environment)
    }

    /// Reads the text of a `project.yml` that belongs to the directory `root`.
    ///
    /// # Errors
    ///
    /// Those of [`Project::read`].
    ///
    /// ```
    /// use larder_project::{Overrides, Project};
    ///
    /// let text = "vars: {lr: 5e-5}\ncommands:\n- name: train\n  script: ['train --lr ${vars.lr}']\n  outputs: [model/]\n";
    /// let project = Project::parse(text, "/project".as_ref(), &Overrides::default(), &|_| None)?;
    /// assert_eq!(project.commands[0].script, ["train --lr 5e-05"]);
    /// # Ok::<(), larder_project::Error>(())
    /// ```
    pub fn parse(
        text: &str,
        root: &Path,
        overrides: &Overrides,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let path = root.join(Self::FILE);
        let place = |line| SourceLine { path: path.clone(), line };
        let node = yaml::parse(text).map_err(|problem| problem.into_error(&path))?;
        let empty = Self {
            root: root.to_owned(),
            directories: Vec::new(),
            remotes: Vec::new(),
            commands: Vec::new(),
            workflows: Vec::new(),
            idle_overrides: Vec::new(),
        };
        let Some(node) = node.filter(|node| !node.is_null()) else { return Ok(empty) };
        schema::check(&node).map_err(|violation| Error::Invalid {
            place: place(violation.line),
            key: violation.key,
            problem: violation.problem,
        })?;
        let file = ParsedFile { node, path };
        let values = file.values()?;
        let idle = overrides.iter().map(|(path, _)| path).filter(|path| !file.uses(path));
        let idle_overrides = idle.map(ToOwned::to_owned).collect();
        let Interpolated { project, breaking } = interpolate::interpolate(values, overrides, environment)
            .map_err(|fault| file.variable_error(fault.variable.as_deref(), fault.problem))?;
        SectionReader { file: &file, project: &project, breaking }.read(Self { idle_overrides, ..empty })
    }

    /// Returns the commands with these names, or all if there are no names. The name of a workflow selects its commands.
    ///
    /// # Errors
    ///
    /// A name matches no command and no workflow.
    pub fn select(&self, names: &[String]) -> Result<Vec<&ProjectCommand>> {
        let mut wanted: Vec<&str> = Vec::new();
        for name in names {
            if self.commands.iter().any(|command| command.name == *name) {
                wanted.push(name);
            } else if let Some((_, steps)) = self.workflows.iter().find(|(workflow, _)| workflow == name) {
                wanted.extend(steps.iter().map(String::as_str));
            } else {
                let commands = self.commands.iter().map(|command| &command.name);
                let workflows = self.workflows.iter().map(|(workflow, _)| workflow);
                return Err(Error::UnknownCommand {
                    path: self.root.join(Self::FILE),
                    name: name.clone(),
                    known: commands.chain(workflows).cloned().collect(),
                });
            }
        }
        let is_wanted =
            |command: &&ProjectCommand| names.is_empty() || wanted.contains(&command.name.as_str());
        Ok(self.commands.iter().filter(is_wanted).collect())
    }
}

pub(crate) fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        let place = SourceLine { path: path.to_owned(), line };
        Error::Yaml { place, problem: "it must be UTF-8 text".to_owned() }
    })
}

impl yaml::Problem {
    /// Returns the error for this problem in the file at `path`.
    pub(crate) fn into_error(self, path: &Path) -> Error {
        let place = SourceLine { path: path.to_owned(), line: self.line };
        if self.keys.is_empty() {
            return Error::Yaml { place, problem: self.text };
        }
        let key = self.keys.into_iter().rev().collect::<Vec<_>>().join(".");
        Error::Invalid { place, key, problem: self.text }
    }
}

/// The file before the replacement of variables.
struct ParsedFile {
    node: Rc<Node>,
    path: PathBuf,
}

impl ParsedFile {
    fn place(&self, line: usize) -> SourceLine {
        SourceLine { path: self.path.clone(), line }
    }

    /// Returns the contents of the file, without empty `directories` and `remotes`, which would crash weasel.
    fn values(&self) -> Result<Map> {
        let Value::Map(mut values) =
            self.node.to_value(false).map_err(|problem| problem.into_error(&self.path))?
        else {
            return Ok(Map::new());
        };
        for name in ["directories", "remotes"] {
            if values.get(name) == Some(&Value::Null) {
                values.shift_remove(name);
            }
        }
        Ok(values)
    }

    /// Returns whether the value at this path (`vars.seed`) exists or a text refers to it. A reference to a
    /// part of it or to its section counts.
    fn uses(&self, path: &str) -> bool {
        let keys = path.strip_prefix("project.").unwrap_or(path).split('.');
        let is_there = keys.clone().try_fold(&self.node, |node, key| node.get(key)).is_some();
        let mut is_named = false;
        self.node.each_text(&mut Vec::new(), &mut |text, _, _| {
            let mut names = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
            is_named |= names.any(|name| {
                let name = name.replace(':', ".");
                format!("{name}.").starts_with(&format!("{path}."))
                    || format!("{path}.").starts_with(&format!("{name}."))
            });
        });
        is_there || is_named
    }

    /// Returns the line of the value at these keys, or of the innermost key that exists.
    fn line_of(&self, keys: &[&str]) -> usize {
        let mut node = &self.node;
        for key in keys {
            let Some(inner) = node.get(key) else { break };
            node = inner;
        }
        node.line
    }

    /// Returns the error for a faulty variable. If the variable is known, the error names its line in the
    /// file.
    fn variable_error(&self, variable: Option<&str>, problem: String) -> Error {
        let Some(variable) = variable else {
            return Error::Invalid { place: self.place(1), key: Project::FILE.to_owned(), problem };
        };
        let spellings = [format!("${{{variable}}}"), format!("${{{}}}", variable.replacen('.', ":", 1))];
        let mut line = None;
        self.node.each_text(&mut Vec::new(), &mut |text, at, _| {
            if line.is_none() && spellings.iter().any(|spelling| text.contains(spelling)) {
                line = Some(at);
            }
        });
        let keys: Vec<&str> = variable.split('.').collect();
        let line = line.unwrap_or_else(|| self.line_of(&keys));
        Error::Variable { place: self.place(line), variable: variable.to_owned(), problem }
    }
}

/// Reads an interpolated project. Interpolation may change the types of values.
struct SectionReader<'a> {
    file: &'a ParsedFile,
    project: &'a Map,
    breaking: Option<String>,
}

impl SectionReader<'_> {
    fn read(&self, mut project: Project) -> Result<Project> {
        if let Some(directories) = self.project.get("directories") {
            project.directories = self.texts(directories, "directories")?;
        }
        if let Some(remotes) = self.project.get("remotes") {
            let Some(remotes) = remotes.as_map() else { return Err(self.broken("remotes", "a mapping")) };
            project.remotes = remotes.iter().map(|(name, value)| self.remote(name, value)).collect();
        }
        if let Some(commands) = self.project.get("commands") {
            let Some(commands) = commands.as_list() else { return Err(self.broken("commands", "a list")) };
            project.commands = commands.iter().map(|command| self.command(command)).collect::<Result<_>>()?;
        }
        if let Some(workflows) = self.project.get("workflows") {
            let Some(workflows) = workflows.as_map() else {
                return Err(self.broken("workflows", "a mapping"));
            };
            for (name, steps) in workflows {
                project.workflows.push((name.clone(), self.texts(steps, &format!("workflows.{name}"))?));
            }
        }
        Ok(project)
    }

    fn remote(&self, name: &str, value: &Value) -> ProjectRemote {
        let location = value.as_text().map(ToOwned::to_owned).ok_or_else(|| value.to_json());
        let place = self.file.place(self.file.line_of(&["remotes", name]));
        ProjectRemote { name: name.to_owned(), location, place }
    }

    fn command(&self, value: &Value) -> Result<ProjectCommand> {
        let Some(map) = value.as_map() else { return Err(self.broken("commands", "a list of mappings")) };
        let name = map.get("name").and_then(Value::as_text);
        let Some(name) = name else { return Err(self.broken("commands.name", "a text")) };
        let texts = |key: &str| match map.get(key) {
            Some(value) => self.texts(value, &format!("commands.{name}.{key}")),
            None => Ok(Vec::new()),
        };
        let no_skip = match map.get("no_skip") {
            Some(Value::Bool(value)) => *value,
            // As in Python, an empty text is false.
            Some(Value::Text(text)) => !text.is_empty(),
            Some(Value::Int(digits)) => digits != "0",
            Some(Value::Float(value)) => *value != 0.0,
            _ => false,
        };
        Ok(ProjectCommand {
            name: name.to_owned(),
            script: texts("script")?,
            deps: texts("deps")?,
            outputs: texts("outputs")?,
            outputs_no_cache: texts("outputs_no_cache")?,
            no_skip,
        })
    }

    fn texts(&self, value: &Value, key: &str) -> Result<Vec<String>> {
        let texts = value
            .as_list()
            .and_then(|items| items.iter().map(|item| item.as_text().map(ToOwned::to_owned)).collect());
        texts.ok_or_else(|| self.broken(key, "a list of texts"))
    }

    fn broken(&self, key: &str, expected: &str) -> Error {
        if let Some(variable) = &self.breaking {
            let problem = format!(
                "has a value that cannot stand there (with a quote, a backslash, a `$` or a line break): `{key}` is no \
                 longer {expected}"
            );
            return self.file.variable_error(Some(variable), problem);
        }
        let keys: Vec<&str> = key.split('.').collect();
        Error::Invalid {
            place: self.file.place(self.file.line_of(&keys)),
            key: key.to_owned(),
            problem: format!("must be {expected} when its variables are replaced"),
        }
    }
}
