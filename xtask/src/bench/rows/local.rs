//! Compares larder with a remote in a directory with tar, zstd and weasel.

use super::{MIB, Peer, Rival, Row, RowTarget, compare};
use crate::Result;
use crate::bench::BenchOptions;
use crate::bench::data::SMALL_FILES;
use crate::bench::measure::{Stats, in_turns};
use crate::bench::stage::{LARGE, Local, MILLION, MIXED, SMALL, WEIGHTS, with_slow_opens};

/// The data sets: the name, the name in the table, the number of entries, and the maximum ratios for push and pull.
const DATA: [(&str, &str, f64, f64, f64); 3] = [
    (LARGE, "512 MiB", 3.0, 1.0, 0.8),
    (SMALL, "10,000 files", SMALL_FILES as f64 + 101.0, 1.1, 1.2),
    (WEIGHTS, "weights", 1.0, 0.5, 0.8),
];

const TAR_PUSH: &str = "tar | zstd -3 -T0";
const TAR_PULL: &str = "zstd -dc | tar";

pub(crate) fn measure(stage: &Local, options: &BenchOptions) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut memory = Vec::new();
    for (data, name, entries, push_target, pull_target) in DATA {
        let push = format!("push, {name}");
        if options.wants(&push) {
            let subjects = [stage.larder_push(data, "zstd"), stage.tar_push(data)];
            let [larder, tar] = pair(in_turns(&subjects, options.rounds())?)?;
            memory.push(Row::of_memory(&push, &larder, most_memory(128.0, entries)));
            rows.push(Row {
                name: push,
                larder,
                peer: Some(Peer::measured(TAR_PUSH, tar)),
                target: RowTarget::Ratio(push_target),
            });
        }
        let pull = format!("pull, {name}");
        if options.wants(&pull) {
            stage.prepare_pulls(data)?;
            let [larder, tar] =
                pair(in_turns(&[stage.larder_pull(data), stage.tar_pull()], options.rounds())?)?;
            memory.push(Row::of_memory(&pull, &larder, most_memory(64.0, entries)));
            rows.push(Row {
                name: pull,
                larder,
                peer: Some(Peer::measured(TAR_PULL, tar)),
                target: RowTarget::Ratio(pull_target),
            });
        }
    }
    peaks(stage, options, &mut memory)?;
    unchanged(stage, options, &mut rows)?;
    a_million_unchanged(stage, options, &mut rows, &mut memory)?;
    runs(stage, options, &mut rows)?;
    slow_opens(stage, options, &mut rows)?;
    against_weasel(stage, options, &mut rows)?;
    project_against_weasel(stage, options, &mut rows, &mut memory)?;
    rows.extend(memory);
    latency(stage, options, &mut rows)?;
    Ok(rows)
}

/// Returns the maximum peak for this number of entries on this machine. It is `mib` for two cores and no entries.
fn most_memory(mib: f64, entries: f64) -> RowTarget {
    RowTarget::Mib(mib + 20.0 * further_cores() + 256.0 * entries / MIB)
}

/// Measures the memory for data whose frames compress to very different sizes.
fn peaks(stage: &Local, options: &BenchOptions, memory: &mut Vec<Row>) -> Result<()> {
    const NAME: &str = "2 GiB of noise and text in turns";
    if !options.wants(&format!("peak memory, {NAME}")) {
        return Ok(());
    }
    stage.make_mixed()?;
    let mut add = |verb: &str, stats: Vec<Stats>, mib: f64| {
        let row = |larder| Row::of_memory(&format!("{verb}, {NAME}"), &larder, most_memory(mib, 1.0));
        memory.extend(stats.into_iter().map(row));
    };
    add("push", in_turns(&[stage.larder_push(MIXED, "zstd")], options.rounds())?, 128.0);
    stage.prepare_larder_pulls(MIXED)?;
    add("pull", in_turns(&[stage.larder_pull(MIXED)], options.rounds())?, 64.0);
    stage.remove_mixed()
}

/// Returns the number of cores beyond two. Each may cost 20 MiB more.
fn further_cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores.saturating_sub(2)).map_or(0.0, f64::from)
}

fn pair(stats: Vec<Stats>) -> Result<[Stats; 2]> {
    stats.try_into().map_err(|_| "two subjects were measured".into())
}

fn slow_opens(stage: &Local, options: &BenchOptions, rows: &mut Vec<Row>) -> Result<()> {
    if !options.wants("10,000 files where each open takes 1 ms") {
        return Ok(());
    }
    stage.prepare_pulls(SMALL)?;
    let push = [stage.larder_push(SMALL, "zstd"), stage.tar_push(SMALL)];
    let pull = [stage.larder_pull(SMALL), stage.tar_pull()];
    for (verb, subjects, peer) in [("push", push, TAR_PUSH), ("pull", pull, TAR_PULL)] {
        let [larder, other] = pair(in_turns(&subjects.map(with_slow_opens), options.rounds())?)?;
        let name = format!("{verb}, 10,000 files where each open takes 1 ms");
        rows.push(Row {
            name,
            larder,
            peer: Some(Peer::measured(peer, other)),
            target: RowTarget::Ratio(0.25),
        });
    }
    Ok(())
}

/// Measures commands that read no file, because the digests of all are remembered.
fn unchanged(stage: &Local, options: &BenchOptions, rows: &mut Vec<Row>) -> Result<()> {
    const STATUS: &str = "status of 10,000 unchanged files";
    const PINS: usize = 1_000;
    let subjects =
        [("push", stage.push_again(SMALL)), ("hash", stage.hash(SMALL)), ("status", stage.of_pins("status"))];
    for (verb, subject) in subjects {
        let name = format!("{verb} of 10,000 unchanged files");
        if !options.wants(&name) {
            continue;
        }
        stage.prepare_larder_pulls(SMALL)?;
        stage.pin(&[SMALL.to_owned()])?;
        let stats = in_turns(&[subject], options.rounds())?;
        let row = |larder| Row { name: name.clone(), larder, peer: None, target: RowTarget::Millis(60.0) };
        rows.extend(stats.into_iter().map(row));
    }
    if options.wants(STATUS) {
        let dvc = Rival {
            row: STATUS,
            name: "dvc status",
            without: "",
            target: RowTarget::TimesFaster(10.0),
            subject: stage.dvc("status"),
        };
        compare(|| stage.of_pins("status"), [dvc], options, rows)?;
    }
    for verb in ["status", "pull"] {
        let name = format!("{verb} of 1,000 clean pins");
        if options.wants(&name) {
            stage.pin_many(PINS)?;
            let stats = in_turns(&[stage.of_pins(verb)], options.rounds())?;
            let row =
                |larder| Row { name: name.clone(), larder, peer: None, target: RowTarget::Millis(100.0) };
            rows.extend(stats.into_iter().map(row));
        }
    }
    Ok(())
}

/// Measures `larder run` of a command that does not have to run.
fn runs(stage: &Local, options: &BenchOptions, rows: &mut Vec<Row>) -> Result<()> {
    const UP_TO_DATE: &str = "run of an up-to-date command with 10,000 dependencies";
    const HIT: &str = "run that restores a small output";
    if options.wants(UP_TO_DATE) {
        stage.run_once()?;
        let hash = Rival {
            row: UP_TO_DATE,
            name: "larder hash content",
            without: "the output, the locks and the record",
            target: RowTarget::RatioAfter { most: 1.2, millis: 15.0 },
            subject: Ok(stage.hash(SMALL)),
        };
        let dvc = Rival {
            row: UP_TO_DATE,
            name: "dvc repro",
            without: "",
            target: RowTarget::TimesFaster(10.0),
            subject: stage.dvc("repro"),
        };
        // It answers from its cache without a look at the content. No target, but a scale.
        let bkt = Rival {
            row: UP_TO_DATE,
            name: "bkt",
            without: "a look at any content (it compares the time of the directory)",
            target: RowTarget::TimesFaster(0.0),
            subject: stage.bkt(),
        };
        compare(|| stage.run_again(), [hash, dvc, bkt], options, rows)?;
    }
    if options.wants(HIT) {
        let stats = in_turns(&[stage.run_hit()?], options.rounds())?;
        let row = |larder| Row { name: HIT.to_owned(), larder, peer: None, target: RowTarget::Millis(30.0) };
        rows.extend(stats.into_iter().map(row));
    }
    Ok(())
}

/// Compares the status of unchanged files with git's, which compares the same states of files. It exists only for its measurement,
/// because a million files on a tmpfs occupy memory.
fn a_million_unchanged(
    stage: &Local,
    options: &BenchOptions,
    rows: &mut Vec<Row>,
    memory: &mut Vec<Row>,
) -> Result<()> {
    const NAME: &str = "status of 1,000,000 unchanged files";
    if !options.wants(NAME) {
        return Ok(());
    }
    stage.make_million()?;
    stage.pin(&[MILLION.to_owned()])?;
    let [larder, git] = pair(in_turns(&[stage.of_pins("status"), stage.git_status()], options.rounds())?)?;
    memory.push(Row::of_memory(NAME, &larder, RowTarget::Mib(64.0)));
    rows.push(Row {
        name: NAME.to_owned(),
        larder,
        peer: Some(Peer::measured("git status", git)),
        target: RowTarget::Ratio(1.0),
    });
    stage.remove_million()
}

fn against_weasel(stage: &Local, options: &BenchOptions, rows: &mut Vec<Row>) -> Result<()> {
    let mut add = |name: &str, larder: Stats, peer: Peer, target| {
        rows.push(Row {
            name: format!("{name}, 512 MiB, against weasel"),
            larder,
            peer: Some(peer),
            target: RowTarget::TimesFaster(target),
        });
    };
    if options.wants("push against weasel") {
        let subjects =
            [stage.larder_push(LARGE, "gzip"), stage.larder_push(LARGE, "zstd"), stage.weasel_push()];
        let stats = in_turns(&subjects, options.rounds())?;
        let [gzip, zstd, weasel] = stats.try_into().map_err(|_| "three subjects were measured")?;
        add("push with gzip", gzip, Peer::measured("weasel push", weasel.clone()), 4.0);
        add("push with zstd", zstd, Peer::measured("weasel push", weasel), 7.0);
    }
    if options.wants("pull against weasel") {
        stage.prepare_pulls(LARGE)?;
        stage.prepare_weasel_pulls()?;
        let subjects = [stage.larder_pull(LARGE), stage.weasel_pull()];
        let [larder, weasel] = pair(in_turns(&subjects, options.rounds())?)?;
        add("pull", larder, Peer::measured("weasel pull", weasel), 4.0);
    }
    Ok(())
}

/// Compares the commands that replace weasel's.
fn project_against_weasel(
    stage: &Local,
    options: &BenchOptions,
    rows: &mut Vec<Row>,
    memory: &mut Vec<Row>,
) -> Result<()> {
    let mut add = |verb: &str, larder: Stats, weasel: Stats, peer: &'static str, most: f64| {
        let name = format!("project {verb}, 512 MiB, against weasel");
        memory.push(Row::of_memory(&name, &larder, most_memory(most, 1.0)));
        let peer = Some(Peer::measured(peer, weasel));
        rows.push(Row { name, larder, peer, target: RowTarget::TimesFaster(4.0) });
    };
    if options.wants("project push against weasel") {
        let subjects = [stage.project_push(), stage.weasel_push()];
        let [larder, weasel] = pair(in_turns(&subjects, options.rounds())?)?;
        add("push", larder, weasel, "weasel push", 128.0);
    }
    if options.wants("project pull against weasel") {
        stage.prepare_project_pulls()?;
        stage.prepare_weasel_pulls()?;
        let subjects = [stage.project_pull(), stage.weasel_pull()];
        let [larder, weasel] = pair(in_turns(&subjects, options.rounds())?)?;
        add("pull", larder, weasel, "weasel pull", 64.0);
    }
    Ok(())
}

fn latency(stage: &Local, options: &BenchOptions, rows: &mut Vec<Row>) -> Result<()> {
    if options.wants("larder --version") {
        let stats = in_turns(&[stage.version()], options.rounds())?;
        let row = |larder| Row {
            name: "larder --version".to_owned(),
            larder,
            peer: None,
            target: RowTarget::Millis(10.0),
        };
        rows.extend(stats.into_iter().map(row));
    }
    let name = "larder find among 10,000 objects of one command hash";
    if options.wants(name) {
        let stats = in_turns(&[stage.find(10_000)?], options.rounds())?;
        let row = |larder| Row { name: name.to_owned(), larder, peer: None, target: RowTarget::Millis(30.0) };
        rows.extend(stats.into_iter().map(row));
    }
    Ok(())
}
