//! One connection of a client, and its connection to the server.

use std::future::pending;
use std::io;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response, Version, client, server};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::proxy::closing::{Closing, FlushWatched};
use crate::proxy::http::HttpProxyState;
use crate::proxy::http::body::{BodyDamage, Damaged, ProxyBody};
use crate::proxy::http::request::HttpRequest;
use crate::proxy::http::rule::{HttpAction, Pick};

pub(super) async fn connection(client: TcpStream, shared: Arc<HttpProxyState>) {
    if client.set_nodelay(true).is_err() {
        return;
    }
    let closing = Arc::new(Closing::default());
    let exchange =
        Arc::new(ProxiedExchange { shared, closing: Arc::clone(&closing), server: Mutex::default() });
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { exchange.answer(request).await }
    });
    let io = TokioIo::new(FlushWatched::new(client, Arc::clone(&closing)));
    tokio::select! {
        // Ignore errors: the client sees them, or a rule caused them.
        _ = server::conn::http1::Builder::new().serve_connection(io, service) => {}
        () = closing.due() => {}
    }
}

struct ProxiedExchange {
    shared: Arc<HttpProxyState>,
    closing: Arc<Closing>,
    /// The connection of the last request, if it is still usable.
    server: Mutex<Option<SendRequest<Incoming>>>,
}

impl ProxiedExchange {
    /// # Errors
    ///
    /// An error closes the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<Response<ProxyBody>> {
        let seen = HttpRequest::of(&request);
        let number = self.shared.log.add(seen.clone());
        let (mut head, body) = request.into_parts();
        let pick = self.shared.rules.pick(&seen, &mut head.headers);
        let request = Request::from_parts(head, body);
        let response = match pick {
            None => self.forward(number, request).await?.map(ProxyBody::Servers),
            Some(pick) => self.act(number, request, pick).await?,
        };
        self.shared.log.answered(number, response.status().as_u16());
        Ok(response)
    }

    async fn act(
        &self,
        number: usize,
        request: Request<Incoming>,
        pick: Pick,
    ) -> io::Result<Response<ProxyBody>> {
        let Pick { action, fired } = pick;
        let (damage, at) = match action {
            HttpAction::Respond(reply) => {
                // An answer before the end of the body would close the connection while the client still sends.
                exhaust(request.into_body()).await?;
                let mut response = Response::new(ProxyBody::Own(Some(reply.body)));
                *response.status_mut() = reply.status;
                *response.headers_mut() = reply.headers;
                fired.add();
                return Ok(response);
            }
            HttpAction::LoseAnswer => {
                exhaust(self.forward(number, request).await?.into_body()).await?;
                fired.add();
                return Err(io::Error::other("a rule lost the answer"));
            }
            HttpAction::StallAnswer => {
                fired.add();
                return pending().await;
            }
            HttpAction::CutBody { after } => (BodyDamage::Cut(Arc::clone(&self.closing)), after),
            HttpAction::StallBody { after } => (BodyDamage::Stall, after),
            HttpAction::CorruptBody { at } => (BodyDamage::Corrupt, at),
            HttpAction::StripHeader(_) => {
                return Ok(self.forward(number, request).await?.map(ProxyBody::Servers));
            }
        };
        let response = self.forward(number, request).await?;
        Ok(response.map(|body| ProxyBody::Damaged(Damaged::new(body, damage, at, fired))))
    }

    /// Sends a request to the server.
    async fn forward(&self, number: usize, mut request: Request<Incoming>) -> io::Result<Response<Incoming>> {
        *request.version_mut() = Version::HTTP_11;
        let mut server = self.server.lock().await;
        loop {
            let (mut sender, is_new) = match server.take() {
                Some(sender) => (sender, false),
                None => (self.connect().await?, true),
            };
            if sender.ready().await.is_err() && !is_new {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.shared.log.server_answered(number, response.status().as_u16());
                    *server = Some(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    // The server had closed the connection before the request was sent.
                    Some(unsent) if !is_new => request = unsent,
                    _ => return Err(io::Error::other(error.into_error())),
                },
            }
        }
    }

    async fn connect(&self) -> io::Result<SendRequest<Incoming>> {
        let stream = TcpStream::connect(self.shared.target).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // The task ends when the sender is dropped. The requests report its errors.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Reads a body to its end.
async fn exhaust(mut body: Incoming) -> io::Result<()> {
    while let Some(frame) = body.frame().await {
        frame.map_err(io::Error::other)?;
    }
    Ok(())
}
