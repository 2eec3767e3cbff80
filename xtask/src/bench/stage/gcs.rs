//! For remotes in Google Cloud Storage: the testkit's server, a project with one object, and a place to restore to.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::served::{KEPT, MADE, PULLED, PUSHED, Served, WHERE};
use crate::bench::curl;
use crate::bench::measure::Subject;
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
    /// Makes the data and the places, and starts the server, which is built for release too.
    pub(crate) fn set(dir: &Path, larder: PathBuf) -> Result<Self> {
        curl::find()?;
        let server = TestBackend::named("gcs")?.start(dir)?;
        let variable = |name: &str| server.variable(name).map(str::to_owned);
        let url = variable("LARDER_TEST_GCS_URL")?;
        let bucket = url.trim_start_matches("gs://").to_owned();
        let endpoint = variable("LARDER_TEST_GCS_ENDPOINT")?;
        let grpc_endpoint = variable("LARDER_TEST_GCS_GRPC_ENDPOINT")?;
        Ok(Self { served: Served::set(dir, larder, server, OBJECT_MIB)?, bucket, endpoint, grpc_endpoint })
    }

    /// The server and the peer, a line each.
    pub(crate) fn describe() -> Result<Vec<String>> {
        let server = format!("larder-gcs-server at the same commit, built for release, {WHERE}");
        Ok(vec![server, curl::version()?])
    }

    /// Shows the end of the server's log, for when something has failed.
    pub(crate) fn show_log(&self) {
        self.served.show_log();
    }

    /// A remote of larder's.
    fn remote(&self, name: &str) -> String {
        let Self { bucket, endpoint, grpc_endpoint, .. } = self;
        format!("gs://{bucket}/{name}?endpoint={endpoint}&grpc_endpoint={grpc_endpoint}&anonymous=true")
    }

    /// The objects of the bucket, in the JSON API.
    fn objects(&self) -> String {
        format!("{}/storage/v1/b/{}/o", self.endpoint, self.bucket)
    }

    /// An object of that name.
    fn object(&self, name: &str) -> String {
        format!("{}/{}", self.objects(), encode(name))
    }

    /// A subject before which nothing is where pushes go to.
    fn pushing<'a>(&'a self, command: impl Fn() -> Command + 'a) -> Subject<'a> {
        self.served.pushing(|| self.remove_pushed(), command)
    }

    /// `larder push` to where nothing is.
    pub(crate) fn larder_push(&self) -> Subject<'_> {
        self.pushing(|| self.served.push(&self.remote(PUSHED)))
    }

    /// `curl` up, in a single request: "Upload an object from a file system" in Google's documentation.
    pub(crate) fn curl_push(&self) -> Subject<'_> {
        let name = encode(&format!("{PUSHED}/{MADE}"));
        let url =
            format!("{}/upload/storage/v1/b/{}/o?uploadType=media&name={name}", self.endpoint, self.bucket);
        self.pushing(move || {
            let mut command = self.served.curl("project");
            // `--data-binary`, as it is documented, would read all of the file before it sends.
            command.args(["--request", "POST", "--header", "Content-Type: application/octet-stream"]);
            command.args(["--upload-file", MADE, &url]);
            command
        })
    }

    /// Pushes once, with larder, what everybody pulls, and returns where `curl` finds it.
    pub(crate) fn keep_push(&self) -> Result<String> {
        let found = self.served.keep_push(&self.remote(KEPT))?;
        let name = found.strip_prefix(&format!("gs://{}/", self.bucket));
        let name = name.ok_or_else(|| format!("{found} is not in the bucket {}", self.bucket))?;
        Ok(format!("{}?alt=media", self.object(name)))
    }

    /// `larder pull` of it, to where nothing is.
    pub(crate) fn larder_pull(&self) -> Subject<'_> {
        self.served.pulling(|| self.served.pull(&self.remote(KEPT)))
    }

    /// `curl` down.
    pub(crate) fn curl_pull<'a>(&'a self, kept: &'a str) -> Subject<'a> {
        self.served.pulling(move || {
            let mut command = self.served.curl("restored");
            command.args(["--output", PULLED, kept]);
            command
        })
    }

    /// Removes every object that was pushed, and so its bytes: the server has them where the data are.
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

/// A name in a URL, where a slash would separate what it belongs to.
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
