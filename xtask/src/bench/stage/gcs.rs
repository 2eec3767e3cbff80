//! The setup for remotes in Google Cloud Storage: the testkit's server, a project with one output, and a directory for pulls.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::served::{KEPT, MADE, PULLED, PUSHED, Served, WHERE};
use crate::bench::curl;
use crate::bench::measure::MeasuredCommand;
use crate::servers::TestBackend;
use crate::{Result, process};

const OBJECT_MIB: u32 = 1024;

pub(crate) struct Gcs {
    served: Served,
    bucket: String,
    endpoint: String,
    grpc_endpoint: String,
}

impl Gcs {
    /// Creates the data and the directories, and starts the server, which is built in release mode too.
    pub(crate) fn prepare(dir: &Path, larder: PathBuf) -> Result<Self> {
        curl::find()?;
        let server = TestBackend::named("gcs")?.start(dir)?;
        let variable = |name: &str| server.variable(name).map(str::to_owned);
        let url = variable("LARDER_TEST_GCS_URL")?;
        let bucket = url.trim_start_matches("gs://").to_owned();
        let endpoint = variable("LARDER_TEST_GCS_ENDPOINT")?;
        let grpc_endpoint = variable("LARDER_TEST_GCS_GRPC_ENDPOINT")?;
        Ok(Self {
            served: Served::prepare(dir, larder, server, OBJECT_MIB)?,
            bucket,
            endpoint,
            grpc_endpoint,
        })
    }

    /// Describes the server and the peer, one line each.
    pub(crate) fn describe() -> Result<Vec<String>> {
        let server = format!("larder-gcs-server at the same commit, built for release, {WHERE}");
        Ok(vec![server, curl::version()?])
    }

    /// Prints the end of the server's log, after a failure.
    pub(crate) fn show_log(&self) {
        self.served.show_log();
    }

    /// Returns the URL of a remote.
    fn remote(&self, name: &str) -> String {
        let Self { bucket, endpoint, grpc_endpoint, .. } = self;
        format!("gs://{bucket}/{name}?endpoint={endpoint}&grpc_endpoint={grpc_endpoint}&anonymous=true")
    }

    /// Returns the URL of the bucket's objects in the JSON API.
    fn objects(&self) -> String {
        format!("{}/storage/v1/b/{}/o", self.endpoint, self.bucket)
    }

    /// Returns the URL of an object.
    fn object(&self, name: &str) -> String {
        format!("{}/{}", self.objects(), encode(name))
    }

    /// Creates a subject that removes pushed objects first.
    fn pushing<'a>(&'a self, command: impl Fn() -> Command + 'a) -> MeasuredCommand<'a> {
        self.served.pushing(|| self.remove_pushed(), command)
    }

    /// Returns `larder push` to an empty remote.
    pub(crate) fn larder_push(&self) -> MeasuredCommand<'_> {
        self.pushing(|| self.served.push(&self.remote(PUSHED)))
    }

    /// Returns an upload with `curl` in one request: "Upload an object from a file system" in Google's documentation.
    pub(crate) fn curl_push(&self) -> MeasuredCommand<'_> {
        let name = encode(&format!("{PUSHED}/{MADE}"));
        let url =
            format!("{}/upload/storage/v1/b/{}/o?uploadType=media&name={name}", self.endpoint, self.bucket);
        self.pushing(move || {
            let mut command = self.served.curl("project");
            // The documented `--data-binary` would read the whole file before it sends.
            command.args(["--request", "POST", "--header", "Content-Type: application/octet-stream"]);
            command.args(["--upload-file", MADE, &url]);
            command
        })
    }

    /// Pushes the object for all pulls, once, and returns its URL for `curl`.
    pub(crate) fn prepare_pulls(&self) -> Result<String> {
        let found = self.served.prepare_pulls(&self.remote(KEPT))?;
        let name = found.strip_prefix(&format!("gs://{}/", self.bucket));
        let name = name.ok_or_else(|| format!("{found} is not in the bucket {}", self.bucket))?;
        Ok(format!("{}?alt=media", self.object(name)))
    }

    /// Returns `larder pull` of that object into an empty directory.
    pub(crate) fn larder_pull(&self) -> MeasuredCommand<'_> {
        self.served.pulling(|| self.served.pull(&self.remote(KEPT)))
    }

    /// Returns a download with `curl`.
    pub(crate) fn curl_pull<'a>(&'a self, kept: &'a str) -> MeasuredCommand<'a> {
        self.served.pulling(move || {
            let mut command = self.served.curl("restored");
            command.args(["--output", PULLED, kept]);
            command
        })
    }

    /// Removes every pushed object, to free its space: the server stores it in the data directory.
    fn remove_pushed(&self) -> Result<()> {
        let list = format!("{}?prefix={PUSHED}/", self.objects());
        let page: Value = serde_json::from_str(&process::stdout_of(self.served.curl("home").arg(list))?)?;
        for item in page["items"].as_array().into_iter().flatten() {
            let name = item["name"].as_str().ok_or("the server lists an object without a name")?;
            process::run(self.served.curl("home").args(["--request", "DELETE", &self.object(name)]))?;
        }
        Ok(())
    }
}

/// Encodes a name, including its slashes, for the path of a URL.
fn encode(name: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let encoded = |byte: u8| {
        if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    name.bytes().map(encoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(encode("kept/a%2Fb.bin/x y"), "kept%2Fa%252Fb.bin%2Fx%20y");
    }
}
