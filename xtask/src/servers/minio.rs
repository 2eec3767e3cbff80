//! MinIO, for the S3 backend.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::guard::GuardedServer;
use super::{
    Server, ServerSite, TestBackend, VariableLookup, free_ports, is_proxy, retry_ports, temporary_dir,
};
use crate::{Result, process};

/// The backend for S3.
pub(super) const S3: TestBackend = TestBackend { name: "s3", variable: "LARDER_TEST_S3_URL", start, example };

/// The last commit of the archived project. The tags of its releases are not valid versions of a Go module.
const MINIO: [&str; 3] = ["github.com/minio/minio", "v0.0.0-20260212201848-7aac2a2c5b7c", "go1.24.8"];

const BUCKET: &str = "larder";

/// Returns `BUCKET PREFIX`.
fn example(variables: &VariableLookup<'_>) -> Option<Vec<String>> {
    let url = variables(S3.variable)?;
    let (bucket, prefix) =
        url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
    Some(vec![bucket.to_owned(), format!("{prefix}/example").trim_start_matches('/').to_owned()])
}

/// The program and its version line.
struct Minio {
    program: OsString,
    version: String,
}

/// Finds `$MINIO`, or `minio` on `PATH`, or builds MinIO into the cache, once.
fn find() -> Result<Minio> {
    let is_program = |program: OsString| version(&program).map(|version| Minio { program, version });
    let minio = if let Some(named) = env::var_os("MINIO").filter(|named| !named.is_empty()) {
        let path = Path::new(&named);
        let is_name = path.components().count() == 1;
        let program = if is_name { named.clone() } else { std::path::absolute(path)?.into() };
        let problem = || format!("$MINIO is {}, which prints no version of MinIO", named.display());
        is_program(program).ok_or_else(problem)?
    } else if let Some(minio) = is_program("minio".into()) {
        minio
    } else {
        let built = process::build_go_program(MINIO).map_err(|error| {
            format!(
                "{error}; put `minio` on PATH, or its path into $MINIO, or Go 1.19 or later on PATH to build it, or name \
                 another server in {}",
                S3.variable
            )
        })?;
        is_program(built.into()).ok_or("the built MinIO prints no version")?
    };
    eprintln!("xtask: MinIO: {}, {}", minio.program.display(), minio.version);
    Ok(minio)
}

fn version(program: &OsStr) -> Option<String> {
    let text = process::answer(Command::new(program).arg("--version"), Duration::from_secs(10))?;
    // The first word is the file name. The copyright line names MinIO.
    let line = text.lines().next().filter(|line| line.contains(" version ") && text.contains("MinIO"));
    line.map(str::to_owned)
}

/// Builds MinIO if it is missing.
pub(crate) fn fetch() -> Result<()> {
    find().map(drop)
}

fn start(site: &ServerSite<'_>) -> Result<Server> {
    let minio = find()?;
    retry_ports("MinIO", || attempt(&minio, site.dir))
}

fn attempt(minio: &Minio, dir: &Path) -> Result<Option<Server>> {
    let dir = temporary_dir("larder-minio-", dir)?;
    let [port, console] = free_ports()?;
    let (user, password) = (secret()?, secret()?);
    // Use a subdirectory, because MinIO treats a directory in its data directory as a bucket.
    let data = dir.path().join("data");
    fs::create_dir_all(data.join(BUCKET))?;
    let mut command = Command::new(&minio.program);
    command.args(["server", "--address", &format!("127.0.0.1:{port}")]);
    command.args(["--console-address", &format!("127.0.0.1:{console}")]).arg(data);
    // Pass the credentials in variables, because all users can read arguments.
    command.env("MINIO_ROOT_USER", &user).env("MINIO_ROOT_PASSWORD", &password).env("MINIO_UPDATE", "off");
    let mut guarded = GuardedServer::start("MinIO", &command, dir)?;
    if guarded.wait_until_ready(|_| is_ready(port).ok().filter(|ready| *ready))?.is_none() {
        return Ok(None);
    }
    let env = vec![
        (S3.variable, format!("s3://{BUCKET}")),
        ("AWS_ENDPOINT_URL_S3", format!("http://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID", user),
        ("AWS_SECRET_ACCESS_KEY", password),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
    ];
    let about = vec![
        format!("larder push OUTPUT --command-hash HASH -r s3://{BUCKET}/demo"),
        format!("to run the tests: {}=s3://{BUCKET} cargo xtask integration --backend s3", S3.variable),
        format!("console: http://127.0.0.1:{console}"),
    ];
    Ok(Some(Server {
        program: minio.version.clone(),
        env,
        hidden: env::vars_os().map(|(name, _)| name).filter(conflicts).collect(),
        about,
        guarded: Some(guarded),
    }))
}

/// Whether a variable of the caller selects another account or a proxy.
fn conflicts(name: &OsString) -> bool {
    is_proxy(name) || name.to_string_lossy().starts_with("AWS_")
}

fn is_ready(port: u16) -> io::Result<bool> {
    let timeout = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let request = format!("GET /minio/health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}

/// Returns 128 random bits as text.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
