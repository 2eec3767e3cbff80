//! The testkit's server for Google Cloud Storage. No emulator supports both of Google's protocols.

use std::ffi::OsString;
use std::process::Command;

use super::guard::GuardedServer;
use super::{Server, ServerSite, TestBackend, VariableLookup, is_proxy, temporary_dir};
use crate::{Result, cargo};

/// The backend for Google Cloud Storage.
pub(super) const GCS: TestBackend =
    TestBackend { name: "gcs", variable: "LARDER_TEST_GCS_URL", start, example };

/// The endpoints of another server than Google's.
const ENDPOINTS: [&str; 2] = ["LARDER_TEST_GCS_ENDPOINT", "LARDER_TEST_GCS_GRPC_ENDPOINT"];

/// Returns `BUCKET PREFIX`, followed by `ENDPOINT GRPC_ENDPOINT` if these are set.
fn example(variables: &VariableLookup<'_>) -> Option<Vec<String>> {
    let url = variables(GCS.variable)?;
    let (bucket, prefix) =
        url.strip_prefix("gs://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
    let prefix = format!("{}/example", prefix.trim_end_matches('/'));
    let place = [bucket.to_owned(), prefix.trim_start_matches('/').to_owned()];
    let endpoints = ENDPOINTS.iter().filter_map(|name| variables(name)).filter(|value| !value.is_empty());
    Some(place.into_iter().chain(endpoints).collect())
}

const BUCKET: &str = "larder";

fn start(site: &ServerSite<'_>) -> Result<Server> {
    let program = match site.gcs_server {
        Some(program) => program.to_owned(),
        None => cargo::build_gcs_server()?,
    };
    let dir = temporary_dir("larder-gcs-", site.dir)?;
    let mut command = Command::new(&program);
    command.args(["--bucket", BUCKET, "--dir"]).arg(dir.path());
    let mut guarded = GuardedServer::start("the server for gcs", &command, dir)?;
    let endpoints = guarded.wait_until_ready(printed_endpoints)?;
    let [endpoint, grpc_endpoint] = endpoints.ok_or("the port of the server for gcs is taken")?;
    let remote =
        format!("gs://{BUCKET}/demo?endpoint={endpoint}&grpc_endpoint={grpc_endpoint}&anonymous=true");
    let about = vec![
        format!("larder push OUTPUT --command-hash HASH -r '{remote}'"),
        "to run the tests: export the variables, then cargo xtask integration --backend gcs".to_owned(),
    ];
    let [endpoint_variable, grpc_variable] = ENDPOINTS;
    let env = vec![
        (GCS.variable, format!("gs://{BUCKET}")),
        (endpoint_variable, endpoint),
        (grpc_variable, grpc_endpoint),
    ];
    Ok(Server {
        program: program.display().to_string(),
        env,
        hidden: std::env::vars_os().map(|(name, _)| name).filter(conflicts).collect(),
        about,
        guarded: Some(guarded),
    })
}

/// Returns the two endpoints, once the server has printed both complete lines.
fn printed_endpoints(log: &str) -> Option<[String; 2]> {
    let (lines, _) = log.rsplit_once('\n')?;
    let value = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Some([value("endpoint=")?, value("grpc_endpoint=")?])
}

/// Whether a variable of the caller selects another account, another emulator or a proxy.
fn conflicts(name: &OsString) -> bool {
    let text = name.to_string_lossy();
    let prefixes = ["GOOGLE_", "STORAGE_EMULATOR_", "GCE_METADATA_", "CLOUDSDK_"];
    is_proxy(name) || prefixes.iter().any(|prefix| text.starts_with(prefix))
}
