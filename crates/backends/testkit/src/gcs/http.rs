//! The JSON API: <https://cloud.google.com/storage/docs/json_api/v1>.

mod answer;
mod body;
mod incoming;
mod multipart;
mod range;
mod read;
mod resumable;
mod route;
mod upload;

use std::future::pending;
use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::gcs::GcsServerState;
use crate::gcs::call::{GcsCall, GcsRequest};
use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::{GcsAction, ReplyDamage};
use crate::gcs::http::body::ReplyBody;
use crate::gcs::http::incoming::IncomingBody;
use crate::gcs::http::route::Route;
use crate::gcs::session::Lost;
use crate::proxy::closing::{Closing, FlushWatched};
use crate::proxy::worker::accept;

pub(super) async fn serve(listener: TcpListener, shared: Arc<GcsServerState>) {
    loop {
        let client = accept(&listener).await;
        tokio::spawn(connection(client, Arc::clone(&shared)));
    }
}

async fn connection(client: TcpStream, shared: Arc<GcsServerState>) {
    if client.set_nodelay(true).is_err() {
        return;
    }
    let closing = Arc::new(Closing::default());
    let exchange = Arc::new(HttpExchange { shared, closing: Arc::clone(&closing) });
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { exchange.answer(request).await }
    });
    let io = TokioIo::new(FlushWatched::new(client, Arc::clone(&closing)));
    tokio::select! {
        // Ignore errors: the client sees them, or a rule caused them.
        _ = http1::Builder::new().serve_connection(io, service) => {}
        () = closing.due() => {}
    }
}

/// The reason why a request fails.
#[derive(Debug)]
enum End {
    /// The server answers with this error.
    Failure(GcsFailure),
    /// The client is gone.
    Gone,
}

impl From<GcsFailure> for End {
    fn from(failure: GcsFailure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Failure(error.into())
    }
}

impl From<Lost> for End {
    fn from(_: Lost) -> Self {
        Self::Gone
    }
}

type HttpReply = Response<ReplyBody>;

struct HttpExchange {
    shared: Arc<GcsServerState>,
    closing: Arc<Closing>,
}

impl HttpExchange {
    /// # Errors
    ///
    /// An error closes the connection without an answer.
    async fn answer(&self, request: Request<Incoming>) -> io::Result<HttpReply> {
        let (head, body) = request.into_parts();
        let route = Route::of(&head);
        let seen = seen(&head, &route);
        let entry = self.shared.log.add(seen.clone());
        let picked = self.shared.rules.pick(&seen);
        let mut body = IncomingBody::new(body);
        let response = match picked {
            None => self.handle(&head, &route, &mut body, None).await?,
            Some((GcsAction::Fail(failure), fired)) => {
                self.exhaust(&mut body).await?;
                fired.add();
                answer::failure(&failure, route.is_media())
            }
            Some((GcsAction::StallAnswer, fired)) => {
                fired.add();
                return pending().await;
            }
            Some((GcsAction::LoseAnswer, fired)) => {
                self.handle(&head, &route, &mut body, None).await?;
                fired.add();
                return Err(io::Error::other("a rule lost the answer"));
            }
            Some((action @ (GcsAction::GarbleAnswer | GcsAction::CutAnswer { .. }), fired)) => {
                let damage = ReplyDamage { action, fired, closing: Arc::clone(&self.closing) };
                let answer = self.handle(&head, &route, &mut body, None).await?;
                answer.map(|reply| reply.damaged(damage))
            }
            Some((action, fired)) => {
                let damage = ReplyDamage { action, fired, closing: Arc::clone(&self.closing) };
                body.damage(damage.clone());
                self.handle(&head, &route, &mut body, Some(damage)).await?
            }
        };
        entry.answered(response.status().as_u16());
        Ok(response)
    }

    /// Handles a request. Reads its body to the end, because an earlier answer would close the connection while the client
    /// still sends.
    async fn handle(
        &self,
        head: &Parts,
        route: &Route,
        body: &mut IncomingBody,
        damage: Option<ReplyDamage>,
    ) -> io::Result<HttpReply> {
        let answer = match self.dispatch(head, route, body, damage).await {
            Ok(answer) => answer,
            Err(End::Failure(failure)) => answer::failure(&failure, route.is_media()),
            Err(End::Gone) => return Err(io::Error::other("the client is gone")),
        };
        self.exhaust(body).await?;
        Ok(answer)
    }

    async fn exhaust(&self, body: &mut IncomingBody) -> io::Result<()> {
        let end = body.exhaust().await;
        end.map_err(|_| io::Error::other("the client is gone"))
    }

    async fn dispatch(
        &self,
        head: &Parts,
        route: &Route,
        body: &mut IncomingBody,
        damage: Option<ReplyDamage>,
    ) -> Result<HttpReply, End> {
        let shared = &*self.shared;
        match route.call {
            GcsCall::InsertObject => upload::insert(shared, head, route, body, damage.as_ref()).await,
            GcsCall::StartUpload => upload::start(shared, head, route, body).await,
            GcsCall::UploadChunk | GcsCall::QueryUpload => {
                resumable::put(shared, head, route, body, damage.as_ref()).await
            }
            GcsCall::CancelUpload => Ok(resumable::cancel(shared, route)?),
            GcsCall::ReadObject => Ok(read::media(shared, head, route, damage)?),
            GcsCall::GetObject => Ok(read::metadata(shared, route, damage.as_ref())?),
            GcsCall::ListObjects => Ok(read::list(shared, route)?),
            GcsCall::DeleteObject => Ok(read::delete(shared, route)?),
            GcsCall::GetBucket => Ok(read::bucket(shared, route)?),
            GcsCall::TestPermissions => Ok(read::permissions(shared, route)?),
            GcsCall::CreateBucket | GcsCall::Other => {
                let what = format!("{} {}", head.method, head.uri.path());
                Err(GcsFailure::unsupported(&what).into())
            }
        }
    }
}

/// Describes a request for the log and the rules.
fn seen(head: &Parts, route: &Route) -> GcsRequest {
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let mut seen = GcsRequest::new(route.call, false, head.method.as_str(), target, &head.headers);
    route.bucket.clone_into(&mut seen.bucket);
    route.object.clone_into(&mut seen.object);
    seen
}
