//! The testkit's server for Google Cloud Storage: no other speaks both of the protocols as Google does.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::guard::{Guarded, Plan};
use super::{Backend, Server, Site, Variables};
use crate::{Result, cargo};

/// The backend whose tests run against it.
pub(super) const GCS: Backend = Backend { name: "gcs", variable: "LARDER_TEST_GCS_URL", start, example };

/// Where the server is, if it is not Google's own.
const ENDPOINTS: [&str; 2] = ["LARDER_TEST_GCS_ENDPOINT", "LARDER_TEST_GCS_GRPC_ENDPOINT"];

/// `BUCKET PREFIX`, and behind them `ENDPOINT GRPC_ENDPOINT` where these are set.
fn example(variables: &Variables<'_>) -> Option<Vec<String>> {
    let url = variables(GCS.variable)?;
    let (bucket, prefix) =
        url.strip_prefix("gs://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
    let prefix = format!("{}/example", prefix.trim_end_matches('/'));
    let place = [bucket.to_owned(), prefix.trim_start_matches('/').to_owned()];
    let endpoints = ENDPOINTS.iter().filter_map(|name| variables(name)).filter(|value| !value.is_empty());
    Some(place.into_iter().chain(endpoints).collect())
}

const BUCKET: &str = "larder";
/// It is ready in a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

fn start(site: &Site<'_>) -> Result<Server> {
    let program = match site.gcs_server {
        Some(program) => program.to_owned(),
        None => cargo::build_gcs_server()?,
    };
    let made = std::path::absolute(site.dir)
        .and_then(|dir| tempfile::Builder::new().prefix("larder-gcs-").tempdir_in(dir));
    let dir =
        made.map_err(|error| format!("failed to make a directory in {}: {error}", site.dir.display()))?;
    let data = dir.path().to_owned();
    let mut guarded = Guarded::start(&plan(&program, &data), dir)?;
    let deadline = Instant::now() + PATIENCE;
    let endpoints = loop {
        let problem = match (said(&guarded.log()), guarded.ended()) {
            (Some(endpoints), _) => break endpoints,
            (None, Some(how)) => format!("ended before it was ready ({how})"),
            (None, None) if Instant::now() >= deadline => {
                format!("was not ready after {} s", PATIENCE.as_secs())
            }
            (None, None) => {
                thread::sleep(POLL);
                continue;
            }
        };
        return Err(format!("the server for gcs {problem}; its log:\n{}", guarded.log()).into());
    };
    eprintln!(
        "xtask: the server for gcs listens on {} and {}; it is in process group {}, in {}",
        endpoints[0],
        endpoints[1],
        guarded.group(),
        data.display()
    );
    Ok(server(&program, guarded, endpoints))
}

/// Its two endpoints, once it has said them.
fn said(log: &str) -> Option<[String; 2]> {
    // A line without its end may go on.
    let (lines, _) = log.rsplit_once('\n')?;
    let value = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Some([value("endpoint=")?, value("grpc_endpoint=")?])
}

/// What clients need to know.
fn server(program: &Path, guarded: Guarded, [endpoint, grpc_endpoint]: [String; 2]) -> Server {
    let remote =
        format!("gs://{BUCKET}/demo?endpoint={endpoint}&grpc_endpoint={grpc_endpoint}&anonymous=true");
    let about = vec![
        format!("larder push OUTPUT --command-hash HASH -r '{remote}'"),
        "tests against it: export the above, then cargo xtask integration --backend gcs".to_owned(),
        "Ctrl-C ends it and removes its data".to_owned(),
    ];
    let [endpoint_variable, grpc_variable] = ENDPOINTS;
    let env = vec![
        (GCS.variable, format!("gs://{BUCKET}")),
        (endpoint_variable, endpoint),
        (grpc_variable, grpc_endpoint),
    ];
    let names = std::env::vars_os().map(|(name, _)| name);
    Server {
        program: program.display().to_string(),
        env,
        hidden: names.filter(leads_elsewhere).collect(),
        about,
        guarded: Some(guarded),
    }
}

/// Whether a variable of the caller would lead the tests to another account or emulator, or through a proxy.
fn leads_elsewhere(name: &OsString) -> bool {
    let name = name.to_string_lossy().to_uppercase();
    let proxies = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY"];
    ["GOOGLE_", "STORAGE_EMULATOR_", "GCE_METADATA_"].iter().any(|prefix| name.starts_with(prefix))
        || name.starts_with("CLOUDSDK_")
        || proxies.contains(&name.as_str())
}

fn plan(program: &Path, dir: &Path) -> Plan {
    let mut command = Command::new(program);
    command.args(["--bucket", BUCKET, "--dir"]).arg(dir);
    // Nothing else of the caller.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let env = vec![("PATH".into(), path), ("HOME".into(), dir.into()), ("TMPDIR".into(), dir.into())];
    Plan { command, env, finally: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_it_has_said_both_endpoints() {
        let lines = "bucket=larder\nendpoint=http://127.0.0.1:1\ngrpc_endpoint=http://127.0.0.1:23\n";
        let wanted = ["http://127.0.0.1:1", "http://127.0.0.1:23"].map(str::to_owned);
        assert_eq!(said(lines), Some(wanted.clone()));
        assert_eq!(said(&format!("{lines}http GET /storage/v1/b/larder -> 200")), Some(wanted));
        for short in ["", &lines[..lines.len() - 1], "bucket=larder\n"] {
            assert_eq!(said(short), None, "{short}");
        }
    }

    #[test]
    fn what_leads_tests_elsewhere_is_hidden() {
        for name in [
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_CLOUD_PROJECT",
            "STORAGE_EMULATOR_HOST",
            "STORAGE_EMULATOR_GRPC_HOST",
            "GCE_METADATA_HOST",
            "CLOUDSDK_CONFIG",
            "http_proxy",
        ] {
            assert!(leads_elsewhere(&name.into()), "{name}");
        }
        for name in ["PATH", "LARDER_TEST_GCS_URL", "NO_PROXY", "MY_GOOGLE_KEY"] {
            assert!(!leads_elsewhere(&name.into()), "{name}");
        }
    }

    #[test]
    fn it_gets_nothing_of_the_callers_environment() {
        let plan = plan(Path::new("/t/larder-gcs-server"), Path::new("/d"));
        let shown = crate::process::shown(&plan.command);
        assert_eq!(shown, "/t/larder-gcs-server --bucket larder --dir /d");
        let names: Vec<_> = plan.env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "HOME", "TMPDIR"]);
    }

    #[test]
    fn the_example_is_led_to_a_bucket_and_to_an_emulator() {
        let given = |url: &str, endpoints: bool| {
            let variables = |name: &str| match name {
                "LARDER_TEST_GCS_URL" => Some(url.to_owned()),
                "LARDER_TEST_GCS_ENDPOINT" => endpoints.then(|| "http://a".to_owned()),
                "LARDER_TEST_GCS_GRPC_ENDPOINT" => endpoints.then(|| "http://b".to_owned()),
                _ => None,
            };
            example(&variables).map(|words| words.join(" "))
        };
        assert_eq!(given("gs://mine", false).unwrap(), "mine example");
        assert_eq!(given("gs://mine/a/", true).unwrap(), "mine a/example http://a http://b");
        assert_eq!(given("s3://mine", false), None);
    }
}
