//! The time and the memory of a command.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::{Value, json};

use crate::{Result, process};

/// One run of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// The wall time in seconds.
    pub(crate) wall: f64,
    /// The CPU time of all its processes, in seconds.
    pub(crate) cpu: f64,
    /// The largest resident set of any of its processes, in bytes.
    pub(crate) rss: f64,
}

/// The results of several runs of a command.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    samples: Vec<Sample>,
}

impl FromIterator<Sample> for Stats {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        Self { samples: samples.into_iter().collect() }
    }
}

impl Stats {
    pub(crate) fn wall(&self) -> f64 {
        self.median(|sample| sample.wall)
    }

    pub(crate) fn cpu(&self) -> f64 {
        self.median(|sample| sample.cpu)
    }

    /// Returns the highest peak of all runs, because a bound must hold in each run.
    pub(crate) fn peak_rss(&self) -> f64 {
        self.samples.iter().map(|sample| sample.rss).fold(0.0, f64::max)
    }

    /// Returns the wall times of the fastest and the slowest run.
    pub(crate) fn range(&self) -> (f64, f64) {
        let walls = || self.samples.iter().map(|sample| sample.wall);
        (walls().fold(f64::INFINITY, f64::min), walls().fold(0.0, f64::max))
    }

    fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
    }
}

/// A measured command, and the cleanup before it, which is not timed.
pub(crate) struct MeasuredCommand<'a> {
    pub(crate) clear: Box<dyn Fn() -> Result<()> + 'a>,
    pub(crate) command: Box<dyn Fn() -> Command + 'a>,
}

/// The minimum time of all rounds together, in seconds. A shorter command gets more rounds, because a median of few short
/// runs means little.
const LONG_ENOUGH: f64 = 20.0;
/// The maximum factor by which the number of rounds grows.
const MOST_TIMES: usize = 3;

/// Measures the subjects in turns, so that other load on the machine affects all of them alike. With several rounds, an
/// extra first round does not count: a virtual machine gets memory on first use, which takes as long as the command.
/// Short commands get more than `rounds` rounds.
pub(crate) fn in_turns(subjects: &[MeasuredCommand<'_>], rounds: usize) -> Result<Vec<Stats>> {
    in_rounds(subjects, rounds, |subject| measure(&(subject.command)()))
}

fn in_rounds(
    subjects: &[MeasuredCommand<'_>],
    rounds: usize,
    measure: impl Fn(&MeasuredCommand<'_>) -> Result<Sample>,
) -> Result<Vec<Stats>> {
    let mut all = vec![Stats { samples: Vec::new() }; subjects.len()];
    let mut run = |is_counted: bool| -> Result<f64> {
        let mut wall = 0.0;
        for (subject, stats) in subjects.iter().zip(&mut all) {
            (subject.clear)()?;
            let sample = measure(subject)?;
            wall += sample.wall;
            if is_counted {
                stats.samples.push(sample);
            }
        }
        Ok(wall)
    };
    let most = if rounds > 1 { MOST_TIMES * rounds } else { rounds };
    if rounds > 1 {
        run(false)?;
    }
    let mut spent = 0.0;
    for round in 0..most {
        if round >= rounds && spent >= LONG_ENOUGH {
            break;
        }
        spent += run(true)?;
    }
    for subject in subjects {
        (subject.clear)()?;
    }
    Ok(all)
}

/// Measures one run in a separate process, because a process knows only the sum and the maximum over all its children.
fn measure(command: &Command) -> Result<Sample> {
    let mut helper = Command::new(std::env::current_exe()?);
    helper.arg("measure-one-command").arg(command.get_program()).args(command.get_args()).env_clear();
    helper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        helper.current_dir(dir);
    }
    eprintln!("+ {}", process::shown(command));
    let output = helper.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("`{}` failed", process::shown(command)).into());
    }
    let sample: Value = serde_json::from_slice(&output.stdout)?;
    let number = |name: &str| sample[name].as_f64().ok_or_else(|| format!("no `{name}` was measured"));
    let sample = Sample { wall: number("wall")?, cpu: number("cpu")?, rss: number("rss")? };
    eprintln!(
        "  {:.3} s, {:.3} s of CPU, {:.1} MiB",
        sample.wall,
        sample.cpu,
        sample.rss / f64::from(1 << 20)
    );
    Ok(sample)
}

/// Runs a command, and prints its time and memory.
pub(crate) fn measure_child(command: &[OsString]) -> Result<()> {
    let (program, args) = command.split_first().ok_or("no command to measure")?;
    let mut command = Command::new(program);
    command.args(args).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status()?;
    let wall = started.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (cpu, rss) = (
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6,
        usage.max_rss() as f64 * 1024.0,
    );
    let mut stdout = std::io::stdout();
    write!(stdout, "{}", json!({ "wall": wall, "cpu": cpu, "rss": rss }))?;
    stdout.flush()?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", program.display()).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of counted runs of a command with this wall time.
    fn counted(wall: f64, rounds: usize) -> usize {
        let subject =
            MeasuredCommand { clear: Box::new(|| Ok(())), command: Box::new(|| Command::new("true")) };
        let measure = |_: &MeasuredCommand<'_>| Ok(Sample { wall, cpu: 0.0, rss: 0.0 });
        in_rounds(&[subject], rounds, measure).unwrap()[0].samples.len()
    }

    #[test]
    fn short_commands_get_more_rounds() {
        assert_eq!(counted(0.1, 5), 15);
        assert_eq!(counted(2.0, 5), 10);
        assert_eq!(counted(4.0, 5), 5);
        assert_eq!(counted(60.0, 5), 5);
        assert_eq!(counted(0.1, 1), 1, "a single round stays a single round");
    }
}
