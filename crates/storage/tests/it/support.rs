//! A project and a remote in temporary directories.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use larder_storage::{
    CommandHash, ContentHash, Event, OutputPath, Phase, PullOptions, PushOptions, RemoteStorage, RemoteUrl,
    Reporter, Scheme, StorageOptions, Warning,
};
use tempfile::TempDir;

pub(crate) struct Lab {
    pub(crate) project: TempDir,
    pub(crate) remote: TempDir,
    pub(crate) reports: Arc<Recorder>,
}

type Action = Box<dyn FnOnce() + Send>;

/// Records warnings, and runs an action when a phase begins.
#[derive(Default)]
pub(crate) struct Recorder {
    warnings: Mutex<Vec<Warning>>,
    ended: Mutex<Vec<Phase>>,
    on_start: Mutex<Option<(Phase, Action)>>,
}

impl Recorder {
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().unwrap().clone()
    }

    /// Returns how many phases of this kind have ended.
    pub(crate) fn ended(&self, phase: Phase) -> usize {
        self.ended.lock().unwrap().iter().filter(|ended| **ended == phase).count()
    }

    /// Calls `action` once, when `phase` begins for the first time.
    pub(crate) fn when(&self, phase: Phase, action: impl FnOnce() + Send + 'static) {
        *self.on_start.lock().unwrap() = Some((phase, Box::new(action)));
    }
}

impl Reporter for Recorder {
    fn report(&self, event: Event<'_>) {
        match event {
            Event::Warning(warning) => self.warnings.lock().unwrap().push(warning.clone()),
            Event::Started { phase, .. } => {
                let action = self.on_start.lock().unwrap().take_if(|(awaited, _)| *awaited == phase);
                if let Some((_, action)) = action {
                    action();
                }
            }
            Event::Finished { phase, .. } => self.ended.lock().unwrap().push(phase),
            _ => {}
        }
    }
}

impl Default for Lab {
    fn default() -> Self {
        Self {
            project: tempfile::tempdir().unwrap(),
            remote: tempfile::tempdir().unwrap(),
            reports: Arc::new(Recorder::default()),
        }
    }
}

impl Lab {
    pub(crate) fn options(&self) -> StorageOptions {
        let mut options = StorageOptions::default();
        options.reporter = Arc::clone(&self.reports) as _;
        options
    }

    /// Opens the storage as a new process would.
    pub(crate) fn storage(&self) -> RemoteStorage {
        self.storage_with(self.options())
    }

    pub(crate) fn storage_under(&self, scheme: Scheme) -> RemoteStorage {
        let mut options = self.options();
        options.scheme = scheme;
        self.storage_with(options)
    }

    pub(crate) fn storage_with(&self, options: StorageOptions) -> RemoteStorage {
        let url = RemoteUrl::parse(self.remote.path().to_str().unwrap(), Path::new("/")).unwrap();
        RemoteStorage::open(self.project.path(), &url, options).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.project.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        write(&self.path(name), content);
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.path(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    /// Returns the keys of all objects of outputs in the remote, sorted.
    pub(crate) fn objects(&self) -> Vec<String> {
        let mut found = Vec::new();
        files_below(self.remote.path(), &mut |path| {
            found.push(path.strip_prefix(self.remote.path()).unwrap().to_str().unwrap().to_owned());
        });
        found.retain(|key| !key.starts_with(".larder/"));
        found.sort();
        found
    }

    /// Removes the run records of the remote, so that the times of objects decide.
    pub(crate) fn forget_records(&self) {
        fs::remove_dir_all(self.remote.path().join(".larder/1/runs")).unwrap();
    }

    /// Returns the file of an object.
    pub(crate) fn object(&self, key: &str) -> PathBuf {
        self.remote.path().join(key)
    }

    /// Returns the files that larder keeps in the project, without the one that git reads.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in ["tmp", "journal"] {
            if let Ok(entries) = fs::read_dir(self.path(".larder").join(dir)) {
                found.extend(entries.map(|entry| entry.unwrap().path()));
            }
        }
        found
    }
}

pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub(crate) fn files_below(dir: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found(&path) }
    }
}

pub(crate) fn output(path: &str) -> OutputPath {
    OutputPath::new(path).unwrap()
}

pub(crate) fn command(text: &str) -> CommandHash {
    CommandHash::parse(text).unwrap()
}

pub(crate) fn content(text: &str) -> ContentHash {
    ContentHash::parse(text).unwrap()
}

pub(crate) fn pushing(change: impl FnOnce(&mut PushOptions)) -> PushOptions {
    let mut options = PushOptions::default();
    change(&mut options);
    options
}

pub(crate) fn pulling(change: impl FnOnce(&mut PullOptions)) -> PullOptions {
    let mut options = PullOptions::default();
    change(&mut options);
    options
}

/// Returns incompressible bytes, different for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        // xorshift64* (Vigna 2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}
