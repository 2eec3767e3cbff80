//! An HTTP proxy that applies rules to requests.

mod body;
mod connection;
mod request;
mod rule;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::proxy::fired::Fired;
use crate::proxy::http::connection::connection;
pub use crate::proxy::http::request::HttpRequest;
use crate::proxy::http::request::RequestLog;
use crate::proxy::http::rule::HttpRules;
pub use crate::proxy::http::rule::{HttpAction, HttpRule, Reply};
use crate::proxy::worker::{Worker, accept};

/// Forwards HTTP/1.1 requests to a server and applies [`HttpRule`]s to them. It streams bodies in both directions, and
/// forwards headers unchanged, including `Host`. A request that no rule matches gets the server's answer. The proxy itself
/// answers `Expect: 100-continue`, as soon as the server accepts the body.
///
/// ```no_run
/// use larder_testkit::proxy::{HttpAction, HttpProxy, HttpRule, Reply};
///
/// # fn main() -> std::io::Result<()> {
/// # let server = "127.0.0.1:9000".parse().unwrap();
/// # fn push_to(url: String) {}
/// let proxy = HttpProxy::start(server)?;
/// let slow_down = Reply::new(503).header("Retry-After", "0").body("<Error><Code>SlowDown</Code></Error>");
/// let slowed = proxy.add(HttpRule::new(slow_down).on(|request| request.method() == "PUT").times(2));
/// let lost = proxy.add(HttpRule::new(HttpAction::LoseAnswer).on(|request| request.has_query("uploadId")));
///
/// push_to(proxy.url());
/// assert_eq!((slowed.count(), lost.count()), (2, 1));
/// assert_eq!(proxy.count(|request| request.method() == "GET"), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpProxy {
    shared: Arc<HttpProxyState>,
    worker: Worker,
}

#[derive(Debug)]
struct HttpProxyState {
    target: SocketAddr,
    rules: HttpRules,
    log: RequestLog,
}

impl HttpProxy {
    /// Listens on a free port of 127.0.0.1 and forwards to the server at `target`, with no rules.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses a socket or a thread.
    pub fn start(target: SocketAddr) -> io::Result<Self> {
        let shared =
            Arc::new(HttpProxyState { target, rules: HttpRules::default(), log: RequestLog::default() });
        let serving = Arc::clone(&shared);
        let worker = Worker::start("larder-http-proxy", |listener| serve(listener, serving))?;
        Ok(Self { shared, worker })
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.worker.address()
    }

    /// Returns the URL of the proxy, without a trailing slash.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Adds a rule, and returns the count of its uses. If several rules match a request, the first one that was added
    /// applies, together with all rules that only strip headers.
    pub fn add(&self, rule: HttpRule) -> Fired {
        self.shared.rules.add(rule)
    }

    /// Removes all rules.
    pub fn heal(&self) {
        self.shared.rules.clear();
    }

    /// Returns the requests so far, in the order in which they arrived.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.shared.log.all()
    }

    /// Returns the requests so far, and clears the log.
    pub fn take_requests(&self) -> Vec<HttpRequest> {
        self.shared.log.take()
    }

    /// Counts the requests in the log that match.
    pub fn count(&self, such: impl Fn(&HttpRequest) -> bool) -> usize {
        self.requests().iter().filter(|request| such(request)).count()
    }
}

async fn serve(listener: TcpListener, shared: Arc<HttpProxyState>) {
    loop {
        let client = accept(&listener).await;
        tokio::spawn(connection(client, Arc::clone(&shared)));
    }
}
