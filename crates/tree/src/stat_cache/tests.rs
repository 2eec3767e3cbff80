//! The rules of the cache on a file system of which the test sets the clock. A real kernel hides most of the races.

use std::fs;
use std::sync::Arc;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1_000_000_000;

fn split(time: i64) -> (i64, i64) {
    (time.div_euclid(SECOND), time.rem_euclid(SECOND))
}

fn digest(content: u64) -> [u8; DIGEST_LEN] {
    let mut bytes = [0; DIGEST_LEN];
    bytes[..8].copy_from_slice(&content.to_le_bytes());
    bytes
}

fn at(time: i64) -> FileSystemTime {
    let (seconds, nanoseconds) = split(time);
    FileSystemTime { seconds, nanoseconds, device: 1 }
}

fn state(modified: i64, changed: i64) -> FileState {
    FileState { device: 1, inode: 7, size: 5, modified: split(modified), changed: split(changed) }
}

#[test]
fn both_times_must_be_earlier_than_the_clock() {
    let clock = at(100 * SECOND + 500);
    let admits = |modified, changed| clock.is_after(&state(modified, changed));
    let now = 100 * SECOND + 500;
    assert!(admits(now - 1, now - 1));
    assert!(!admits(now, now - 1) && !admits(now - 1, now), "in the same tick");
    assert!(!admits(now + 50 * SECOND, now - 1), "a time of modification in the future");
    // Whole seconds are coarse times, of the clock or of the file.
    assert!(!admits(now - 1, 99 * SECOND) && !admits(now - 1, 97 * SECOND));
    assert!(admits(97 * SECOND, 97 * SECOND));
    let coarse = at(100 * SECOND);
    assert!(!coarse.is_after(&state(98 * SECOND, 98 * SECOND)));
    assert!(coarse.is_after(&state(98 * SECOND - 1, 98 * SECOND - 1)));
    let elsewhere = FileSystemTime { device: 2, ..clock };
    assert!(!elsewhere.is_after(&state(1, 1)), "the clock of another file system says nothing");
}

#[test]
fn a_new_file_has_a_time_that_a_clock_reads() {
    let dir = tempfile::tempdir().unwrap();
    let opened = File::open(dir.path()).unwrap();
    for may_name in [false, true] {
        let before = FileSystemTime::now(&opened, may_name).unwrap();
        fs::write(dir.path().join("x"), "x").unwrap();
        let found = FileState::of(&fs::metadata(dir.path().join("x")).unwrap());
        assert!(!before.is_after(&found));
        assert_eq!(before.device, found.device);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing stays behind");
    assert!(FileSystemTime::now(File::open("/proc").unwrap(), true).is_none());
}

/// A file of the model.
#[derive(Clone, Debug)]
struct ModelFile {
    path: String,
    state: FileState,
    content: u64,
}

/// A file system with a clock that the test sets.
struct Model {
    /// The time in nanoseconds, and the resolution of the times of files.
    time: i64,
    resolution: i64,
    files: Vec<ModelFile>,
    next: u64,
}

#[derive(Clone, Debug)]
enum Edit {
    /// A new content of the same size, as any program writes it.
    Rewrite(usize),
    /// The same, and then the time of modification is set back.
    RewriteRestored(usize),
    /// A file is renamed over another one, which changes its own times or not.
    RenameOver(usize, usize),
    /// The time of modification is set to a time in the future.
    Postpone(usize),
    Wait(i64),
}

#[derive(Clone, Debug)]
enum Step {
    Edit(Edit),
    /// A pass, with an edit before each file is looked at and one after it was read.
    Pass(Vec<(Option<Edit>, Option<Edit>)>),
    /// A pass that fails after some files.
    PartOfPass(usize),
    /// The clock is set back, and a pass follows.
    SetBack(i64),
    /// The file of the cache is cut off or changed.
    Damage(usize, u8),
}

impl Model {
    fn new(resolution: i64, files: usize) -> Self {
        let mut model = Self { time: 1_000 * SECOND, resolution, files: Vec::new(), next: 0 };
        for index in 0..files {
            let (state, content) = (state(0, 0), 0);
            model.files.push(ModelFile { path: format!("d{}/f{index}", index / 3), state, content });
            model.write(index);
            model.files[index].state.inode = index as u64;
        }
        model.files.sort_by(|a, b| format::compare(a.path.as_bytes(), b.path.as_bytes()));
        model
    }

    fn stamp(&self) -> (i64, i64) {
        split(self.time - self.time.rem_euclid(self.resolution))
    }

    fn write(&mut self, index: usize) {
        self.next += 1;
        let (stamp, content) = (self.stamp(), self.next);
        let file = &mut self.files[index];
        (file.state.modified, file.state.changed, file.content) = (stamp, stamp, content);
    }

    fn edit(&mut self, edit: &Edit) {
        let (count, stamp) = (self.files.len(), self.stamp());
        match *edit {
            Edit::Wait(time) => self.time += time,
            Edit::Rewrite(index) => self.write(index % count),
            Edit::RewriteRestored(index) => {
                let modified = self.files[index % count].state.modified;
                self.write(index % count);
                self.files[index % count].state.modified = modified;
            }
            Edit::RenameOver(from, to) => {
                let ModelFile { state, content, .. } = self.files[from % count].clone();
                let to = &mut self.files[to % count];
                (to.state, to.content) = (state, content);
                to.state.changed = stamp;
                self.next += 1;
                // Another file takes the place.
                self.files[from % count].state.inode = 1_000 + self.next;
                self.write(from % count);
            }
            Edit::Postpone(index) => {
                let later = split(self.time + 3 * SECOND);
                let file = &mut self.files[index % count];
                (file.state.modified, file.state.changed) = (later, stamp);
            }
        }
    }

    fn clock(&self) -> FileSystemTime {
        let (seconds, nanoseconds) = self.stamp();
        FileSystemTime { seconds, nanoseconds, device: 1 }
    }
}

fn edits() -> impl Strategy<Value = Edit> {
    let file = 0..8_usize;
    prop_oneof![
        file.clone().prop_map(Edit::Rewrite),
        file.clone().prop_map(Edit::RewriteRestored),
        (file.clone(), file.clone()).prop_map(|(from, to)| Edit::RenameOver(from, to)),
        file.prop_map(Edit::Postpone),
        (0..4 * SECOND).prop_map(Edit::Wait),
        (0..2_000_000_i64).prop_map(Edit::Wait),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let maybe = || proptest::option::weighted(0.3, edits());
    prop_oneof![
        3 => edits().prop_map(Step::Edit),
        3 => proptest::collection::vec((maybe(), maybe()), 8).prop_map(Step::Pass),
        1 => (0..8_usize).prop_map(Step::PartOfPass),
        1 => (0..5 * SECOND).prop_map(Step::SetBack),
        1 => (0..900_usize, any::<u8>()).prop_map(|(at, by)| Step::Damage(at, by)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_remembered_digest_is_that_of_the_content(
        resolution in prop_oneof![Just(1), Just(4_000_000), Just(SECOND), Just(2 * SECOND)],
        steps in proptest::collection::vec(steps(), 1..40),
    ) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".larder")).unwrap();
        let model = Arc::new(Mutex::new(Model::new(resolution, 8)));
        let clock = Arc::clone(&model);
        let cache = StatCache::new(dir.path()).with_clock(Arc::new(move |_| Some(clock.lock().unwrap().clock())));
        let pass = |edits: &[(Option<Edit>, Option<Edit>)], stop: usize| {
            let mut pass = cache.begin(Path::new("tree"), "test");
            for (index, (before, after)) in edits.iter().enumerate() {
                if index == stop {
                    break;
                }
                let mut model = model.lock().unwrap();
                if let Some(edit) = before {
                    model.edit(edit);
                }
                let ModelFile { path, state, content } = model.files[index].clone();
                let known = pass.find(path.as_bytes()).filter(|known| known.matches(&state));
                if let Some(known) = known {
                    assert_eq!(known.digest, digest(content), "{path} at {state:?}");
                }
                if let Some(edit) = after {
                    model.edit(edit);
                }
                pass.record(path.as_bytes(), &state, digest(content), known.is_some());
            }
            pass.finish(stop >= edits.len());
        };
        let quiet = vec![(None, None); 8];
        for step in &steps {
            match step {
                Step::Edit(edit) => model.lock().unwrap().edit(edit),
                Step::Pass(edits) => pass(edits, usize::MAX),
                Step::PartOfPass(stop) => pass(&quiet, *stop),
                Step::SetBack(time) => {
                    model.lock().unwrap().time -= time;
                    pass(&quiet, usize::MAX);
                }
                Step::Damage(place, by) => {
                    let Ok(names) = fs::read_dir(dir.path().join(".larder/stat")) else { continue };
                    for name in names {
                        let path = name.unwrap().path();
                        let mut bytes = fs::read(&path).unwrap();
                        let place = place % bytes.len();
                        if *by == 0 { bytes.truncate(place) } else { bytes[place] ^= by }
                        fs::write(&path, bytes).unwrap();
                    }
                }
            }
        }
        pass(&quiet, usize::MAX);
    }
}

#[test]
fn a_file_is_written_only_if_an_entry_differs() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".larder")).unwrap();
    let cache = StatCache::new(dir.path()).with_clock(Arc::new(|_| Some(at(1_000 * SECOND + 1))));
    // Several blocks.
    let files: Vec<(String, FileState)> = (0..5_000_u64)
        .map(|index| (format!("{index:05}"), FileState { inode: index, ..state(SECOND, SECOND) }))
        .collect();
    let pass = |files: &[(String, FileState)]| {
        let mut pass = cache.begin(Path::new("tree"), "test");
        let mut known = 0;
        for (path, state) in files {
            let found = pass.find(path.as_bytes()).is_some_and(|found| found.matches(state));
            known += usize::from(found);
            pass.record(path.as_bytes(), state, digest(state.inode), found);
        }
        pass.finish(true);
        let names: Vec<_> =
            fs::read_dir(dir.path().join(".larder/stat")).unwrap().map(|name| name.unwrap().path()).collect();
        assert_eq!(names.len(), 1, "no temporary file stays");
        (known, fs::metadata(&names[0]).unwrap().ino(), fs::read(&names[0]).unwrap())
    };
    let (known, first, _) = pass(&files);
    assert_eq!(known, 0);
    let (known, second, whole) = pass(&files);
    assert_eq!((known, second), (5_000, first), "the same file");
    // A change in the middle, one entry less at the end, none at all, and all again.
    let mut changed = files.clone();
    changed[2_500].1.size = 6;
    assert_eq!(pass(&changed).0, 4_999);
    assert_eq!(pass(&changed[..4_999]).0, 4_999);
    assert_eq!(pass(&changed).0, 4_999);
    assert_eq!(pass(&[]).0, 0);
    assert_eq!(pass(&files).0, 0);
    let (known, _, again) = pass(&files);
    assert_eq!((known, again), (5_000, whole));
}

#[test]
fn a_damaged_file_loses_only_what_is_behind_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".larder")).unwrap();
    let cache = StatCache::new(dir.path()).with_clock(Arc::new(|_| Some(at(1_000 * SECOND + 1))));
    let mut pass = cache.begin(Path::new("tree"), "test");
    for index in 0..3_u64 {
        let state = FileState { inode: index, ..state(SECOND, SECOND) };
        pass.record(format!("{index}").as_bytes(), &state, digest(index), false);
    }
    pass.finish(true);
    let path = fs::read_dir(dir.path().join(".larder/stat")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut pass = cache.begin(Path::new("tree"), "test");
        for index in 0..3_u64 {
            let state = FileState { inode: index, ..state(SECOND, SECOND) };
            let known = pass.find(format!("{index}").as_bytes()).filter(|known| known.matches(&state));
            assert!(known.is_none_or(|known| known.digest == digest(index)));
        }
        // Dropped, not finished: the damage stays.
    };
    for place in 0..whole.len() {
        check(&whole[..place]);
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << bit;
            check(&bytes);
        }
    }
    check(&[whole.as_slice(), b"more"].concat());
    check(&[whole.as_slice(), whole.as_slice()].concat());
}

#[test]
fn files_of_other_trees_kinds_and_programs_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".larder")).unwrap();
    let cache = StatCache::new(dir.path()).with_clock(Arc::new(|_| Some(at(1_000 * SECOND + 1))));
    let file = state(SECOND, SECOND);
    let knows = |tree: &str, kind: &str| cache.begin(Path::new(tree), kind).find(b"x").is_some();
    let mut pass = cache.begin(&dir.path().join("tree"), "one");
    pass.record(b"x", &file, digest(1), false);
    pass.finish(true);
    let absolute = dir.path().join("tree");
    assert!(knows(absolute.to_str().unwrap(), "one"));
    assert!(!knows(absolute.to_str().unwrap(), "two"));
    // One file in the place of another, as if their names had collided.
    let (_, name) = cache.place.key(&dir.path().join("other"), "one");
    let written = fs::read_dir(dir.path().join(".larder/stat")).unwrap().next().unwrap().unwrap().path();
    fs::copy(&written, written.with_file_name(name)).unwrap();
    assert!(!knows(dir.path().join("other").to_str().unwrap(), "one"));
    // A symlink, a directory and a FIFO in the place of a file.
    fs::rename(&written, dir.path().join("moved")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("moved"), &written).unwrap();
    assert!(!knows(absolute.to_str().unwrap(), "one"));
    fs::remove_file(&written).unwrap();
    fs::create_dir(&written).unwrap();
    assert!(!knows(absolute.to_str().unwrap(), "one"));
    fs::remove_dir(&written).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &written, rustix::fs::Mode::RWXU).unwrap();
    assert!(!knows(absolute.to_str().unwrap(), "one"));
}

#[test]
fn without_a_clock_nothing_is_recorded_and_what_is_known_is_used() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".larder")).unwrap();
    let with = |time: Option<i64>| StatCache::new(dir.path()).with_clock(Arc::new(move |_| time.map(at)));
    let file = state(SECOND, SECOND);
    let known = |cache: &StatCache| cache.begin(Path::new("tree"), "test").find(b"x").is_some();
    let record = |cache: &StatCache| {
        let mut pass = cache.begin(Path::new("tree"), "test");
        pass.record(b"x", &file, digest(1), false);
        pass.finish(true);
    };
    record(&with(None));
    assert!(!known(&with(Some(9 * SECOND + 1))));
    record(&with(Some(9 * SECOND + 1)));
    assert!(known(&with(None)) && known(&with(Some(9 * SECOND + 1))));
    assert!(!known(&with(Some(9 * SECOND))), "the clock was set back");
}

#[test]
fn stale_temporary_files_and_too_many_files_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let stat = dir.path().join(".larder/stat");
    fs::create_dir_all(&stat).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_hours(25);
    for (name, is_old) in [("tmp-1-1", true), ("tmp-1-2", false), ("0", true), ("1", false)] {
        let file = File::create(stat.join(name)).unwrap();
        if is_old {
            file.set_modified(old).unwrap();
        }
    }
    let place = CachePlace::new(dir.path(), false);
    place.create(false).unwrap();
    let exists = |name: &str| stat.join(name).exists();
    assert!(!exists("tmp-1-1") && exists("tmp-1-2") && exists("0") && exists("1"));
    for index in 0..4_096 {
        File::create(stat.join(format!("{index}-x"))).unwrap();
    }
    CachePlace::new(dir.path(), false).create(false).unwrap();
    assert!(!exists("0"), "the oldest");
    assert_eq!(fs::read_dir(&stat).unwrap().count(), 2_048 + 1);
}

#[test]
fn only_a_large_pass_creates_the_state_of_larder() {
    let files = |count: u64, size: u64, creates: bool| {
        let dir = tempfile::tempdir().unwrap();
        let cache = StatCache::new(dir.path())
            .with_creates(creates)
            .with_clock(Arc::new(|_| Some(at(1_000 * SECOND + 1))));
        let mut pass = cache.begin(Path::new("tree"), "test");
        for index in 0..count {
            let state = FileState { inode: index, size, ..state(SECOND, SECOND) };
            pass.record(format!("{index:05}").as_bytes(), &state, digest(index), false);
        }
        pass.finish(true);
        let created = dir.path().join(".larder/stat").exists();
        assert_eq!(created, dir.path().join(".larder/.gitignore").exists());
        created
    };
    assert!(!files(10, 1 << 20, true));
    assert!(files(1, (64 << 20) + 1, true));
    assert!(files(1_000, 1, true));
    assert!(!files(1, 1 << 40, false) && !files(1_000, 1, false));
}
