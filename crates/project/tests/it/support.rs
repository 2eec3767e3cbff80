//! A project and a remote in temporary directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use larder_project::{
    ExchangeOptions, OutputOutcome, OutputReport, OutputStatus, Overrides, Project, ProjectExchange,
    PullReport,
};
use larder_storage::{RemoteStorage, RemoteUrl, Scheme, StorageOptions};
use serde::Deserialize;
use tempfile::TempDir;

/// A file of a project in a vector.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) data: Option<String>,
    pub(crate) target: Option<String>,
}

impl Entry {
    pub(crate) fn make(&self, root: &Path) {
        let path = root.join(&self.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match self.kind.as_str() {
            "file" => fs::write(path, self.data.as_deref().unwrap()).unwrap(),
            "dir" => fs::create_dir_all(path).unwrap(),
            "link" => symlink(self.target.as_deref().unwrap(), path).unwrap(),
            other => panic!("an entry of the kind {other}"),
        }
    }
}

pub(crate) struct Lab {
    dir: TempDir,
}

impl Lab {
    /// Creates a project with this text, and an empty remote.
    pub(crate) fn new(yml: &str) -> Self {
        let lab = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(lab.root()).unwrap();
        fs::create_dir(lab.remote()).unwrap();
        lab.write(Project::FILE, yml);
        lab
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub(crate) fn remote(&self) -> PathBuf {
        self.dir.path().join("remote")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, data: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.path("project.lock")).unwrap_or_default()
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// Returns the keys in the remote, in order.
    pub(crate) fn keys(&self) -> Vec<String> {
        fn visit(dir: &Path, below: &str, keys: &mut Vec<String>) {
            for entry in fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{below}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() {
                    visit(&entry.path(), &format!("{name}/"), keys);
                } else {
                    keys.push(name);
                }
            }
        }
        let mut keys = Vec::new();
        visit(&self.remote(), "", &mut keys);
        keys.retain(|key| !key.starts_with(".larder/"));
        keys.sort();
        keys
    }

    /// Opens the project in its current state.
    pub(crate) fn with<T>(
        &self,
        options: ExchangeOptions,
        overrides: &[&str],
        work: impl AsyncFnOnce(&ProjectExchange<'_>) -> T,
    ) -> T {
        let overrides = Overrides::parse(overrides.iter().copied(), None).unwrap();
        let project = Project::read(&self.root(), &overrides, &|_| None).unwrap();
        let url = RemoteUrl::parse(self.remote().to_str().unwrap(), Path::new("/")).unwrap();
        let mut storage_options = StorageOptions::default();
        storage_options.scheme = Scheme::Weasel;
        let storage = RemoteStorage::open(self.root(), &url, storage_options).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let exchange = ProjectExchange::new(&project, &storage, options).unwrap();
            let done = work(&exchange).await;
            storage.close().await.unwrap();
            done
        })
    }

    pub(crate) fn push(&self, options: ExchangeOptions) -> Vec<OutputReport> {
        self.with(options, &[], async |exchange| exchange.push(&mut |_| ()).await.unwrap())
    }

    pub(crate) fn pull(&self, options: ExchangeOptions) -> PullReport {
        self.with(options, &[], async |exchange| exchange.pull(&mut |_| ()).await.unwrap())
    }

    pub(crate) fn status(&self) -> Vec<OutputStatus> {
        self.with(ExchangeOptions::default(), &[], async |exchange| exchange.status().await.unwrap())
    }

    /// Returns the states as `command path state`.
    pub(crate) fn states(&self) -> Vec<String> {
        let shown = |status: OutputStatus| {
            let state = status.state.name().unwrap_or("failed");
            format!("{} {} {state}", status.command, status.path)
        };
        self.status().into_iter().map(shown).collect()
    }
}

pub(crate) fn force() -> ExchangeOptions {
    let mut options = ExchangeOptions::default();
    options.force = true;
    options
}

pub(crate) fn dry_run() -> ExchangeOptions {
    let mut options = ExchangeOptions::default();
    options.dry_run = true;
    options
}

pub(crate) fn only(names: &[&str]) -> ExchangeOptions {
    let mut options = ExchangeOptions::default();
    options.only = names.iter().map(ToString::to_string).collect();
    options
}

/// Returns the reports as `command path outcome`.
pub(crate) fn shown(reports: &[OutputReport]) -> Vec<String> {
    let shown = |report: &OutputReport| {
        let outcome = match &report.outcome {
            OutputOutcome::Failed(error) => format!("failed: {error}"),
            outcome => outcome.name().unwrap().to_owned(),
        };
        format!("{} {} {outcome}", report.command, report.path)
    };
    reports.iter().map(shown).collect()
}
