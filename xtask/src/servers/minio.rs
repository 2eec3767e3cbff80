//! MinIO, for the backend of S3.

mod find;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use find::Program;

use super::guard::{Guarded, Plan};
use super::{Backend, Machine, Server, Site, Variables};
use crate::Result;

/// The backend whose tests run against it.
pub(super) const S3: Backend = Backend { name: "s3", variable: "LARDER_TEST_S3_URL", start, example };

/// `BUCKET PREFIX`.
fn example(variables: &Variables<'_>) -> Option<Vec<String>> {
    let url = variables(S3.variable)?;
    let (bucket, prefix) =
        url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
    Some(vec![bucket.to_owned(), format!("{prefix}/example").trim_start_matches('/').to_owned()])
}

const BUCKET: &str = "larder";
const REGION: &str = "us-east-1";
/// MinIO is ready in under 3 s, and in a container not much later.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(20);
/// Between choosing a port and listening on it, another program may take it: how often others are tried.
const ATTEMPTS: usize = 5;

/// Makes sure that there is a MinIO.
pub(crate) fn fetch() -> Result<()> {
    find::find(&Machine::this()?, std::env::var_os("MINIO")).map(drop)
}

fn start(site: &Site<'_>) -> Result<Server> {
    let program = find::find(&Machine::this()?, std::env::var_os("MINIO"))?;
    for _ in 0..ATTEMPTS {
        match attempt(&program, site.dir, free_ports()?)? {
            Started::Ready(server) => return Ok(*server),
            Started::PortTaken => eprintln!("xtask: another program has taken its port: trying others"),
        }
    }
    Err(format!("MinIO found its ports taken {ATTEMPTS} times").into())
}

enum Started {
    Ready(Box<Server>),
    PortTaken,
}

fn attempt(program: &Program, dir: &Path, [port, console]: [u16; 2]) -> Result<Started> {
    let builder = || tempfile::Builder::new().prefix("larder-minio-").tempdir_in(dir);
    let dir =
        builder().map_err(|error| format!("failed to make a directory in {}: {error}", dir.display()))?;
    let (user, password) = (secret()?, secret()?);
    let plan = plan(program, dir.path(), [port, console], &user, &password)?;
    let data = dir.path().to_owned();
    let mut guarded = Guarded::start(&plan, dir)?;
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(port) {
        let problem = match guarded.ended() {
            Some(_) if is_collision(&guarded.log()) => return Ok(Started::PortTaken),
            Some(how) => format!("ended before it was ready ({how})"),
            None if Instant::now() >= deadline => format!("was not ready after {} s", PATIENCE.as_secs()),
            None => {
                thread::sleep(POLL);
                continue;
            }
        };
        return Err(format!("MinIO {problem}; its log:\n{}", guarded.log()).into());
    }
    eprintln!(
        "xtask: MinIO listens on 127.0.0.1:{port}; it is in process group {}, in {}",
        guarded.group(),
        data.display()
    );
    Ok(Started::Ready(Box::new(server(program, guarded, [port, console], user, password))))
}

/// What clients need to know, and nothing that they find elsewhere.
fn server(
    program: &Program,
    guarded: Guarded,
    [port, console]: [u16; 2],
    user: String,
    password: String,
) -> Server {
    let about = vec![
        format!("larder push OUTPUT --command-hash HASH -r s3://{BUCKET}/demo"),
        format!("tests against it: {}=s3://{BUCKET} cargo xtask integration --backend s3", S3.variable),
        format!("console: http://127.0.0.1:{console}"),
        "Ctrl-C ends it and removes its data".to_owned(),
    ];
    let env = vec![
        (S3.variable, format!("s3://{BUCKET}")),
        ("AWS_ENDPOINT_URL_S3", format!("http://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID", user),
        ("AWS_SECRET_ACCESS_KEY", password),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
    ];
    let names = std::env::vars_os().map(|(name, _)| name);
    Server {
        program: program.describe(),
        env,
        hidden: names.filter(leads_elsewhere).collect(),
        about,
        guarded: Some(guarded),
    }
}

/// Whether a variable of the caller would lead the tests to another account, or through a proxy.
fn leads_elsewhere(name: &OsString) -> bool {
    let name = name.to_string_lossy().to_uppercase();
    name.starts_with("AWS_") || ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].contains(&name.as_str())
}

fn plan(
    program: &Program,
    dir: &Path,
    [port, console]: [u16; 2],
    user: &str,
    password: &str,
) -> io::Result<Plan> {
    let (mut command, env, finally) = match program {
        Program::Binary(path) => {
            // MinIO takes a directory beside its own for a bucket.
            let data = dir.join("data");
            fs::create_dir_all(data.join(BUCKET))?;
            let mut command = Command::new(path);
            command.args(["server", "--address", &format!("127.0.0.1:{port}")]);
            command.args(["--console-address", &format!("127.0.0.1:{console}")]).arg(data);
            // Nothing else of the caller: no proxy, no setting of another MinIO, no certificates below the home.
            let path = std::env::var_os("PATH").unwrap_or_default();
            let env = vec![("PATH".into(), path), ("HOME".into(), dir.into()), ("TMPDIR".into(), dir.into())];
            (command, env, Vec::new())
        }
        Program::Container { engine, image } => {
            let name = format!("larder-minio-{port}");
            let mut command = Command::new(engine);
            command.args(["run", "--rm", "--name", &name]);
            command.args(["--publish", &format!("127.0.0.1:{port}:9000")]);
            command.args(["--publish", &format!("127.0.0.1:{console}:9001")]);
            command.args([
                "--env",
                "MINIO_ROOT_USER",
                "--env",
                "MINIO_ROOT_PASSWORD",
                "--env",
                "MINIO_UPDATE",
            ]);
            let script = format!(
                "mkdir -p /data/{BUCKET} && exec minio server --address :9000 --console-address :9001 /data"
            );
            command.args(["--entrypoint", "sh", image, "-c", &script]);
            // The engine finds its daemon by the caller's variables.
            let env = std::env::vars_os()
                .filter(|(name, _)| !name.to_string_lossy().starts_with("MINIO_"))
                .collect();
            let finally = [engine.as_os_str().to_owned()].into_iter();
            let finally = finally.chain(["rm", "--force", "--volumes", &name].map(OsString::from)).collect();
            (command, env, finally)
        }
    };
    command.env("MINIO_ROOT_USER", user).env("MINIO_ROOT_PASSWORD", password).env("MINIO_UPDATE", "off");
    Ok(Plan { command, env, finally })
}

/// Two ports of the loopback interface on which nobody listens.
fn free_ports() -> io::Result<[u16; 2]> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    // Both at once, or they may be the same.
    let (one, other) = (listen()?, listen()?);
    Ok([one.local_addr()?.port(), other.local_addr()?.port()])
}

/// Whether it ended because somebody else listens on its port, in the words of MinIO and of the container engines.
fn is_collision(log: &str) -> bool {
    ["port is already in use", "address already in use", "port is already allocated"]
        .iter()
        .any(|words| log.contains(words))
}

fn is_ready(port: u16) -> bool {
    status(port, "/minio/health/ready").is_ok_and(|line| line.split(' ').nth(1) == Some("200"))
}

/// The first line of the answer.
fn status(port: u16, path: &str) -> io::Result<String> {
    let timeout = Duration::from_secs(2);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // In one piece: a server that has its answer after the first may close, and that would look like a failure.
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = Vec::new();
    stream.take(4096).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned())
}

/// 128 random bits, as text.
fn secret() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    fn words(command: &Command) -> String {
        crate::process::shown(command)
    }

    #[test]
    fn the_binary_gets_nothing_of_the_callers_environment() {
        let dir = tempfile::tempdir().unwrap();
        let plan = plan(&Program::Binary("/bin/minio".into()), dir.path(), [1, 2], "user", "pass").unwrap();
        let data = dir.path().join("data");
        let wanted = format!(
            "MINIO_ROOT_PASSWORD=pass MINIO_ROOT_USER=user MINIO_UPDATE=off /bin/minio server --address \
             127.0.0.1:1 --console-address 127.0.0.1:2 {}",
            data.display()
        );
        assert_eq!(words(&plan.command), wanted);
        let names: Vec<_> = plan.env.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        assert_eq!(names, ["PATH", "HOME", "TMPDIR"]);
        assert!(data.join(BUCKET).is_dir());
    }

    #[test]
    fn a_container_is_published_on_the_loopback_only_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let program = Program::Container { engine: "/bin/docker".into(), image: "minio:1".into() };
        let plan = plan(&program, dir.path(), [1, 2], "user", "pass").unwrap();
        let shown = words(&plan.command);
        assert!(shown.contains("--publish 127.0.0.1:1:9000 --publish 127.0.0.1:2:9001"), "{shown}");
        // Secrets go through the environment: the arguments of a process are for everybody to read.
        assert!(plan.command.get_args().all(|arg| arg != "pass" && arg != "user"));
        assert_eq!(plan.finally, ["/bin/docker", "rm", "--force", "--volumes", "larder-minio-1"]);
    }

    #[test]
    fn what_leads_tests_elsewhere_is_hidden() {
        for name in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            assert!(leads_elsewhere(&name.into()), "{name}");
        }
        for name in ["PATH", "LARDER_TEST_S3_URL", "NO_PROXY", "MY_AWS_KEY"] {
            assert!(!leads_elsewhere(&name.into()), "{name}");
        }
    }

    #[test]
    fn only_200_is_ready() {
        for (answer, ready) in
            [("HTTP/1.1 200 OK", true), ("HTTP/1.1 503 Service Unavailable", false), ("", false)]
        {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                write!(stream, "{answer}\r\nContent-Length: 0\r\n\r\n").unwrap();
                request.join("\n")
            });
            assert_eq!(is_ready(port), ready, "{answer}");
            assert!(server.join().unwrap().starts_with("GET /minio/health/ready HTTP/1.1\n"));
            assert!(!is_ready(port), "nobody listens any more");
        }
    }

    #[test]
    fn ports_are_free_and_two() {
        let [one, other] = free_ports().unwrap();
        assert_ne!(one, other);
        TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
    }

    #[test]
    fn credentials_are_fresh() {
        let (one, other) = (secret().unwrap(), secret().unwrap());
        assert_eq!((one.len(), other.len()), (32, 32));
        assert_ne!(one, other);
    }
}
