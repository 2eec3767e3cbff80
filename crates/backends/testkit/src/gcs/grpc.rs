//! gRPC: `google.storage.v2.Storage`, <https://cloud.google.com/storage/docs/reference/rpc/google.storage.v2>.
//!
//! The generated code has stubs only for clients. The stub of a server is short: it reads one message and writes one.

mod message;
mod method;

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use googleapis_tonic_google_storage_v2::google::storage::v2::{
    CreateBucketRequest, DeleteObjectRequest, GetBucketRequest, GetObjectRequest, ListObjectsRequest,
};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::gcs::GcsServerState;
use crate::gcs::call::{GcsCall, GcsRequest};
use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::{GcsAction, ReplyDamage};
use crate::gcs::grpc::message::{BUCKETS, status};
use crate::gcs::grpc::method::Method;
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
    let exchange = Arc::new(GrpcExchange { shared, closing: Arc::clone(&closing) });
    let service = service_fn(move |request| {
        let exchange = Arc::clone(&exchange);
        async move { Ok::<_, io::Error>(answer(exchange, request).await) }
    });
    let io = TokioIo::new(FlushWatched::new(client, Arc::clone(&closing)));
    tokio::select! {
        // Ignore errors: the client sees them, or a rule caused them.
        _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service) => {}
        () = closing.due() => {}
    }
}

struct GrpcExchange {
    shared: Arc<GcsServerState>,
    closing: Arc<Closing>,
}

async fn answer(exchange: Arc<GrpcExchange>, request: Request<Incoming>) -> Response<Body> {
    match request.uri().path().strip_prefix("/google.storage.v2.Storage/") {
        Some("GetObject") => unary::<GetObjectRequest>(exchange, request).await,
        Some("ListObjects") => unary::<ListObjectsRequest>(exchange, request).await,
        Some("DeleteObject") => unary::<DeleteObjectRequest>(exchange, request).await,
        Some("CreateBucket") => unary::<CreateBucketRequest>(exchange, request).await,
        Some("GetBucket") => unary::<GetBucketRequest>(exchange, request).await,
        _ => {
            let path = request.uri().path();
            let seen = GcsRequest::new(GcsCall::Other, true, "POST", path, request.headers());
            let answer = status(&GcsFailure::unsupported(path));
            exchange.shared.log.add(seen).answered(code(answer.code()));
            answer.into_http()
        }
    }
}

/// Reads one message and answers with one.
async fn unary<M: Method>(exchange: Arc<GrpcExchange>, request: Request<Incoming>) -> Response<Body> {
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    Grpc::new(ProstCodec::<M::Payload, M>::default()).unary(Unary { exchange, path, headers }, request).await
}

/// A request whose message is not read yet.
struct Unary {
    exchange: Arc<GrpcExchange>,
    path: String,
    headers: HeaderMap,
}

type Answered<A> = Result<tonic::Response<A>, Status>;

impl<M: Method> UnaryService<M> for Unary {
    type Response = M::Payload;
    type Future = Pin<Box<dyn Future<Output = Answered<M::Payload>> + Send>>;

    fn call(&mut self, request: tonic::Request<M>) -> Self::Future {
        let exchange = Arc::clone(&self.exchange);
        let message = request.into_inner();
        let mut seen = GcsRequest::new(M::CALL, true, "POST", &self.path, &self.headers);
        let [bucket, object] = message.names();
        bucket.strip_prefix(BUCKETS).unwrap_or(bucket).clone_into(&mut seen.bucket);
        object.clone_into(&mut seen.object);
        Box::pin(async move { exchange.call(seen, message).await })
    }
}

impl GrpcExchange {
    async fn call<M: Method>(&self, seen: GcsRequest, message: M) -> Answered<M::Payload> {
        let entry = self.shared.log.add(seen.clone());
        let outcome = match self.shared.rules.pick(&seen) {
            None => self.serve(&seen, message),
            Some((GcsAction::Fail(failure), fired)) => {
                fired.add();
                Err(failure)
            }
            Some((GcsAction::StallAnswer, fired)) => {
                fired.add();
                return pending().await;
            }
            Some((GcsAction::LoseAnswer, fired)) => {
                let _ = self.serve(&seen, message);
                fired.add();
                // This also ends all other calls of the connection.
                self.closing.now();
                return pending().await;
            }
            Some((action, fired)) => {
                let damage = ReplyDamage { action, fired, closing: Arc::clone(&self.closing) };
                self.serve(&seen, message).map(|answer| M::damage(answer, &damage))
            }
        };
        let answered = outcome.map(tonic::Response::new).map_err(|failure| status(&failure));
        entry.answered(code(answered.as_ref().map_or_else(Status::code, |_| Code::Ok)));
        answered
    }

    fn serve<M: Method>(&self, seen: &GcsRequest, message: M) -> Result<M::Payload, GcsFailure> {
        // Google cannot find the bucket without this header: https://google.aip.dev/client-libraries/4222
        if M::IS_ROUTED && seen.header("x-goog-request-params").is_none_or(str::is_empty) {
            let message =
                "An x-goog-request-params request metadata property must be provided for this request.";
            return Err(GcsFailure::invalid(message));
        }
        message.serve(&self.shared)
    }
}

fn code(code: Code) -> u16 {
    u16::try_from(i32::from(code)).unwrap_or_default()
}
