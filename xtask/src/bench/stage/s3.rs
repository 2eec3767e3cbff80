//! The setup for remotes in S3: a server, a slow link to it, a project with one output, and a directory for pulls.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::served::{KEPT, MADE, PULLED, PUSHED, Served, WHERE};
use super::{LINK_MBIT, LINK_RTT_MS};
use crate::bench::curl;
use crate::bench::link::{self, ShapedLink};
use crate::bench::measure::MeasuredCommand;
use crate::bench::peers::{FoundPeer, Peers};
use crate::servers::TestBackend;
use crate::{Result, process};

pub(crate) const OBJECT_MIB: u32 = 1024;

/// The variable with the server's URL.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_S3";
/// The name of rclone's remote, which its environment configures.
const RCLONE_REMOTE: &str = "bench";

pub(crate) struct S3 {
    served: Served,
    link: ShapedLink,
    peers: Peers,
    /// `s3://BUCKET`.
    bucket: String,
    endpoint: String,
}

/// The object that [`S3::prepare_pulls`] pushed.
pub(crate) struct KeptObject {
    /// `s3://BUCKET/KEY`.
    url: String,
    /// A URL that needs no credentials.
    presigned: Result<String, String>,
}

impl S3 {
    /// Creates the data and the directories, and starts the server and the link.
    pub(crate) fn prepare(dir: &Path, larder: PathBuf, peers: Peers) -> Result<Self> {
        curl::find()?;
        let server = TestBackend::named("s3")?.start(dir)?;
        let (endpoint, bucket) = (server.variable(ENDPOINT)?, server.variable("LARDER_TEST_S3_URL")?);
        let (endpoint, bucket) = (endpoint.to_owned(), bucket.to_owned());
        let link = ShapedLink::start(link::address_of(&endpoint)?, LINK_RTT_MS, LINK_MBIT)?;
        Ok(Self { served: Served::prepare(dir, larder, server, OBJECT_MIB)?, link, peers, bucket, endpoint })
    }

    /// Describes the server and the peers, one line each.
    pub(crate) fn describe(&self) -> Result<Vec<String>> {
        let mut lines = vec![
            format!("{}, {WHERE}", self.served.server.program),
            format!("link: a proxy with a round trip of {LINK_RTT_MS} ms and {LINK_MBIT} Mbit/s each way"),
        ];
        lines.extend(self.peers.describe());
        lines.push(curl::version()?);
        Ok(lines)
    }

    /// Prints the end of the server's log, after a failure.
    pub(crate) fn show_log(&self) {
        self.served.show_log();
    }

    /// Returns the URL of a remote.
    fn remote(&self, name: &str) -> String {
        format!("{}/{name}", self.bucket)
    }

    /// Creates a subject that removes pushed objects first.
    fn pushing<'a>(&'a self, command: impl Fn() -> Command + 'a) -> MeasuredCommand<'a> {
        self.served.pushing(|| self.remove_pushed(), command)
    }

    /// Returns `larder push` to an empty remote.
    pub(crate) fn larder_push(&self) -> MeasuredCommand<'_> {
        self.pushing(|| self.served.push(&self.remote(PUSHED)))
    }

    /// Returns an upload with `aws s3 cp`.
    pub(crate) fn aws_push(&self) -> Result<MeasuredCommand<'_>, String> {
        let program = path(&self.peers.aws)?;
        let to = format!("{}/{PUSHED}/{MADE}", self.bucket);
        Ok(self.pushing(move || self.aws(program, &["cp", MADE, &to], "project")))
    }

    /// Returns an upload with `rclone copyto`.
    pub(crate) fn rclone_push(&self) -> Result<MeasuredCommand<'_>, String> {
        let program = path(&self.peers.rclone)?;
        let to = rclone_name(&format!("{}/{PUSHED}/{MADE}", self.bucket));
        Ok(self.pushing(move || self.rclone(program, MADE, &to, "project")))
    }

    /// Pushes the object for all pulls, once.
    pub(crate) fn prepare_pulls(&self) -> Result<KeptObject> {
        let url = self.served.prepare_pulls(&self.remote(KEPT))?;
        let presigned = path(&self.peers.aws).and_then(|program| {
            let mut presign = self.aws(program, &["presign", &url, "--expires-in", "86400"], "project");
            process::stdout_of(&mut presign).map_err(|error| error.to_string())
        });
        let presigned = presigned.map(|url| url.trim().to_owned());
        Ok(KeptObject { url, presigned })
    }

    /// Returns `larder pull` of that object into an empty directory.
    pub(crate) fn larder_pull(&self) -> MeasuredCommand<'_> {
        self.served.pulling(|| self.served.pull(&self.remote(KEPT)))
    }

    /// Returns a download with `aws s3 cp`.
    pub(crate) fn aws_pull<'a>(&'a self, kept: &'a KeptObject) -> Result<MeasuredCommand<'a>, String> {
        let program = path(&self.peers.aws)?;
        Ok(self.served.pulling(move || self.aws(program, &["cp", &kept.url, PULLED], "restored")))
    }

    /// Returns a download with `rclone copyto` of its own upload. Only its own uploads have an MD5 that it can verify.
    pub(crate) fn rclone_pull(&self) -> Result<MeasuredCommand<'_>, String> {
        let program = path(&self.peers.rclone)?;
        let from = rclone_name(&format!("{}/kept-by-rclone/{MADE}", self.bucket));
        process::run(&mut self.rclone(program, MADE, &from, "project")).map_err(|error| error.to_string())?;
        Ok(self.served.pulling(move || self.rclone(program, &from, PULLED, "restored")))
    }

    /// Returns a download with `curl` from a presigned URL.
    pub(crate) fn curl_pull<'a>(&'a self, kept: &'a KeptObject) -> Result<MeasuredCommand<'a>, String> {
        let url = kept.presigned.as_ref().map_err(|error| format!("no presigned URL: {error}"))?;
        Ok(self.served.pulling(move || {
            let mut command = self.served.curl("restored");
            command.args(["--output", PULLED, url]);
            command
        }))
    }

    /// Routes a subject through the link.
    pub(crate) fn over_link<'a>(&'a self, subject: MeasuredCommand<'a>) -> MeasuredCommand<'a> {
        let MeasuredCommand { clear, command } = subject;
        let command = move || {
            let mut command = command();
            command.env(ENDPOINT, format!("http://{}", self.link.address));
            command
        };
        MeasuredCommand { clear, command: Box::new(command) }
    }

    fn aws(&self, program: &Path, args: &[&str], place: &str) -> Command {
        let mut command = self.served.client(program, place);
        command.arg("s3").args(args);
        command
    }

    fn rclone(&self, program: &Path, from: &str, to: &str, place: &str) -> Command {
        let mut command = self.served.client(program, place);
        let settings =
            [("TYPE", "s3"), ("PROVIDER", "Minio"), ("ENV_AUTH", "true"), ("ENDPOINT", &self.endpoint)];
        let settings = settings
            .map(|(name, value)| (format!("RCLONE_CONFIG_{}_{name}", RCLONE_REMOTE.to_uppercase()), value));
        // With this setting rclone reads no file, and does not warn that it is missing.
        command.env("RCLONE_CONFIG", "/dev/null");
        command.envs(settings).args(["copyto", from, to]);
        command
    }

    /// Removes every pushed object, with MinIO's request to remove a prefix.
    fn remove_pushed(&self) -> Result<()> {
        let bucket = self.bucket.trim_start_matches("s3://");
        let mut curl = self.served.curl("home");
        curl.args(["--config", "-"]);
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--request", "DELETE"]);
        curl.args(["--header", "x-minio-force-delete: true"]);
        curl.arg(format!("{}/{bucket}/{PUSHED}/", self.endpoint));
        // Pass the credentials on standard input, because all users can read arguments.
        let id = self.served.server.variable("AWS_ACCESS_KEY_ID")?;
        let secret = self.served.server.variable("AWS_SECRET_ACCESS_KEY")?;
        let user = format!("user = \"{id}:{secret}\"\n");
        let shown = process::shown(&curl);
        let mut child = curl
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("failed to start `{shown}`: {error}"))?;
        let said = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(user.as_bytes()));
        if child.wait()?.success() && said.is_ok() {
            return Ok(());
        }
        Err(format!("failed to remove the objects of the last round: `{shown}` failed").into())
    }
}

fn path(found: &FoundPeer) -> Result<&Path, String> {
    found.as_ref().map(|program| program.path.as_path()).map_err(Clone::clone)
}

/// Converts `s3://…` to rclone's notation.
fn rclone_name(url: &str) -> String {
    format!("{RCLONE_REMOTE}:{}", url.trim_start_matches("s3://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rclone_has_its_own_names() {
        assert_eq!(rclone_name("s3://bucket/a/b"), "bench:bucket/a/b");
    }
}
