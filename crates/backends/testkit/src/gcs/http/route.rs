//! The routing of requests.

use hyper::Method;
use hyper::header::CONTENT_RANGE;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::gcs::call::GcsCall;
use crate::gcs::failure::GcsFailure;
use crate::gcs::object::Preconditions;

/// The decoded query parameters.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        // A plus is a space, as in forms.
        Self(split.map(|(name, value)| (decode(name), decode(&value.replace('+', " ")))).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, GcsFailure> {
        let invalid = |text| GcsFailure::invalid(format!("Invalid value for {name}: {text}"));
        self.get(name).map(|text| text.parse().map_err(|_| invalid(text))).transpose()
    }

    pub(super) fn preconditions(&self) -> Result<Preconditions, GcsFailure> {
        Ok(Preconditions {
            generation_match: self.number("ifGenerationMatch")?,
            generation_not_match: self.number("ifGenerationNotMatch")?,
            metageneration_match: self.number("ifMetagenerationMatch")?,
            metageneration_not_match: self.number("ifMetagenerationNotMatch")?,
        })
    }
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) call: GcsCall,
    pub(super) bucket: String,
    pub(super) object: String,
    pub(super) query: Query,
}

impl Route {
    pub(super) fn of(head: &Parts) -> Self {
        let query = Query::of(head.uri.query().unwrap_or_default());
        // Split before decoding, because an encoded slash belongs to a name.
        let path: Vec<String> = head.uri.path().split('/').skip(1).map(decode).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let (call, bucket, object) = match (&head.method, &path[..]) {
            (method, ["upload", "storage", "v1", "b", bucket, "o"]) => {
                (upload(method, &query, head), *bucket, query.get("name").unwrap_or_default())
            }
            (&Method::GET, ["storage", "v1", "b", bucket, "o", object])
                if query.get("alt") == Some("media") =>
            {
                (GcsCall::ReadObject, *bucket, *object)
            }
            (&Method::GET, ["download", "storage", "v1", "b", bucket, "o", object]) => {
                (GcsCall::ReadObject, *bucket, *object)
            }
            (&Method::GET, ["storage", "v1", "b", bucket, "o", object]) => {
                (GcsCall::GetObject, *bucket, *object)
            }
            (&Method::DELETE, ["storage", "v1", "b", bucket, "o", object]) => {
                (GcsCall::DeleteObject, *bucket, *object)
            }
            (&Method::GET, ["storage", "v1", "b", bucket, "o"]) => (GcsCall::ListObjects, *bucket, ""),
            (&Method::GET, ["storage", "v1", "b", bucket, "iam", "testPermissions"]) => {
                (GcsCall::TestPermissions, *bucket, "")
            }
            (&Method::GET, ["storage", "v1", "b", bucket]) => (GcsCall::GetBucket, *bucket, ""),
            _ => (GcsCall::Other, "", ""),
        };
        let (bucket, object) = (bucket.to_owned(), object.to_owned());
        Self { call, bucket, object, query }
    }

    /// Whether the request is for bytes, so that errors are text: <https://cloud.google.com/storage/docs/json_api/v1/objects/get>.
    pub(super) fn is_media(&self) -> bool {
        self.call == GcsCall::ReadObject
    }
}

fn upload(method: &Method, query: &Query, head: &Parts) -> GcsCall {
    let is_query = || {
        let range = head.headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        range.is_some_and(|range| range.trim_start_matches("bytes ").starts_with('*'))
    };
    match (method, query.get("uploadType"), query.get("upload_id")) {
        (&Method::PUT, _, Some(_)) if is_query() => GcsCall::QueryUpload,
        (&Method::PUT, _, Some(_)) => GcsCall::UploadChunk,
        (&Method::DELETE, _, Some(_)) => GcsCall::CancelUpload,
        (&Method::POST, Some("resumable"), None) => GcsCall::StartUpload,
        (&Method::POST, Some("media" | "multipart"), None) => GcsCall::InsertObject,
        _ => GcsCall::Other,
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
