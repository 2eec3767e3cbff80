//! `reference/rpc/google.storage.v2`.

use googleapis_tonic_google_storage_v2::google::storage::v2::storage_client::StorageClient;
use googleapis_tonic_google_storage_v2::google::storage::v2::{
    Bucket, CreateBucketRequest, DeleteObjectRequest, GetBucketRequest, GetObjectRequest, ListObjectsRequest,
    Object, ReadObjectRequest,
};
use larder_testkit::gcs::{GcsCall, GcsServer};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::client::{BUCKET, server};

pub(crate) const NAME: &str = "projects/_/buckets/larder";

pub(crate) async fn connect(server: &GcsServer) -> StorageClient<Channel> {
    let endpoint = Endpoint::new(server.grpc_endpoint()).unwrap();
    StorageClient::new(endpoint.connect().await.unwrap())
}

/// Adds the bucket to the metadata, where Google's front ends look for it.
pub(crate) fn routed<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("x-goog-request-params", "bucket=projects/_/buckets/larder".parse().unwrap());
    request
}

pub(crate) fn get(object: &str) -> Request<GetObjectRequest> {
    routed(GetObjectRequest { bucket: NAME.to_owned(), object: object.to_owned(), ..Default::default() })
}

fn delete(object: &str, if_generation_match: Option<i64>) -> Request<DeleteObjectRequest> {
    let (bucket, object) = (NAME.to_owned(), object.to_owned());
    routed(DeleteObjectRequest { bucket, object, if_generation_match, ..Default::default() })
}

fn list(request: ListObjectsRequest) -> Request<ListObjectsRequest> {
    routed(ListObjectsRequest { parent: NAME.to_owned(), ..request })
}

fn names(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.name.as_str()).collect()
}

/// `google.storage.v2.Object`: the result of `GetObject`.
#[tokio::test]
async fn an_object_is_described() {
    let server = server();
    let generation = server.insert(BUCKET, "a/b", b"hello");
    let mut client = connect(&server).await;
    let object = client.get_object(get("a/b")).await.unwrap().into_inner();
    assert_eq!((object.name.as_str(), object.bucket.as_str()), ("a/b", NAME));
    assert_eq!((object.generation, object.metageneration, object.size), (generation, 1, 5));
    let checksums = object.checksums.unwrap();
    assert_eq!(checksums.crc32c, Some(0x9a71_bb4c));
    assert_eq!(checksums.md5_hash.len(), 16);
    let created = object.create_time.unwrap();
    assert_eq!(created.seconds * 1_000_000 + i64::from(created.nanos) / 1000, generation);
    assert_eq!(object.update_time, Some(created));

    let request = server.take_requests().pop().unwrap();
    assert_eq!((request.call(), request.is_grpc(), request.status()), (GcsCall::GetObject, true, Some(0)));
    assert_eq!((request.bucket(), request.object(), request.is_authorized()), (BUCKET, "a/b", false));
}

/// `google.storage.v2.GetObjectRequest`: `generation`, `if_generation_match`, and missing objects.
#[tokio::test]
async fn missing_and_changed_objects_are_reported() {
    let server = server();
    let generation = server.insert(BUCKET, "object", b"hello");
    let mut client = connect(&server).await;
    let other = |change: fn(&mut GetObjectRequest, i64)| {
        let mut request = get("object");
        change(request.get_mut(), generation);
        request
    };
    for (request, code) in [
        (get("none"), Code::NotFound),
        (other(|request, generation| request.generation = generation), Code::Ok),
        (other(|request, generation| request.generation = generation - 1), Code::NotFound),
        (other(|request, generation| request.if_generation_match = Some(generation)), Code::Ok),
        (other(|request, _| request.if_generation_match = Some(0)), Code::FailedPrecondition),
        (
            other(|request, generation| request.if_generation_not_match = Some(generation)),
            Code::FailedPrecondition,
        ),
        (other(|request, _| request.bucket = "projects/_/buckets/none".to_owned()), Code::NotFound),
        (other(|request, _| request.bucket = "larder".to_owned()), Code::InvalidArgument),
    ] {
        let asked = format!("{request:?}");
        let found = client.get_object(request).await.map_or_else(|status| status.code(), |_| Code::Ok);
        assert_eq!(found, code, "{asked}");
    }
}

/// `google.storage.v2`, service `Storage`: a request must name its bucket in `x-goog-request-params`.
#[tokio::test]
async fn a_request_without_its_route_is_refused() {
    let server = server();
    server.insert(BUCKET, "object", b"hello");
    let request = get("object").into_inner();
    let status = connect(&server).await.get_object(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("x-goog-request-params"), "{status}");
}

/// `google.storage.v2.ListObjectsRequest`: `page_size` and `page_token`, `prefix`, `lexicographic_start` and `_end`.
#[tokio::test]
async fn a_listing_comes_in_pages() {
    let server = server();
    let all: Vec<String> = (0..25).map(|number| format!("a/{number:02}")).collect();
    for name in all.iter().map(String::as_str).chain(["a", "b/00", "ä/00"]) {
        server.insert(BUCKET, name, name.as_bytes());
    }
    let mut client = connect(&server).await;
    let mut found = Vec::new();
    let mut request = ListObjectsRequest { prefix: "a/".to_owned(), page_size: 10, ..Default::default() };
    for wanted in [10, 10, 5] {
        let page = client.list_objects(list(request.clone())).await.unwrap().into_inner();
        assert_eq!(page.objects.len(), wanted);
        found.extend(page.objects);
        request.page_token = page.next_page_token;
        // An object that is deleted between two pages does not hide later objects.
        server.remove(BUCKET, &found.last().unwrap().name);
    }
    assert_eq!(names(&found), all);
    assert_eq!(request.page_token, "", "the last page");
    assert_eq!(found[3].size, 4);

    let request = ListObjectsRequest {
        lexicographic_start: "a/20".to_owned(),
        lexicographic_end: "b/00".to_owned(),
        ..Default::default()
    };
    let page = client.list_objects(list(request)).await.unwrap().into_inner();
    assert_eq!(names(&page.objects), ["a/20", "a/21", "a/22", "a/23"]);
    let none = ListObjectsRequest { prefix: "none".to_owned(), ..Default::default() };
    assert!(client.list_objects(list(none)).await.unwrap().into_inner().objects.is_empty());
    let wrong = ListObjectsRequest { page_token: "!".to_owned(), ..Default::default() };
    assert_eq!(client.list_objects(list(wrong)).await.unwrap_err().code(), Code::InvalidArgument);
}

/// `google.storage.v2.ListObjectsRequest`, `page_size`: a page has at most 1000 items.
#[tokio::test]
async fn a_page_has_at_most_1000_objects() {
    let server = server();
    for number in 0..1001 {
        server.insert(BUCKET, &format!("{number:04}"), b"");
    }
    let mut client = connect(&server).await;
    for page_size in [0, 1000, 5000] {
        let request = ListObjectsRequest { page_size, ..Default::default() };
        let page = client.list_objects(list(request)).await.unwrap().into_inner();
        assert_eq!((page.objects.len(), page.next_page_token.is_empty()), (1000, false), "{page_size}");
    }
}

/// `google.storage.v2.ListObjectsRequest`, `delimiter`: names with the delimiter become one prefix, which counts as one item
/// of a page.
#[tokio::test]
async fn a_delimiter_rolls_up() {
    let server = server();
    for name in ["p/a", "p/b/1", "p/b/2", "p/b/3/4", "p/c", "p/d/1", "p/e", "q"] {
        server.insert(BUCKET, name, b"");
    }
    let mut client = connect(&server).await;
    let mut request = ListObjectsRequest {
        prefix: "p/".to_owned(),
        delimiter: "/".to_owned(),
        page_size: 2,
        ..Default::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = client.list_objects(list(request.clone())).await.unwrap().into_inner();
        let objects: Vec<String> = page.objects.into_iter().map(|object| object.name).collect();
        pages.push((objects.join(" "), page.prefixes.join(" ")));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let pages: Vec<(&str, &str)> = pages.iter().map(|(one, other)| (one.as_str(), other.as_str())).collect();
    assert_eq!(pages, [("p/a", "p/b/"), ("p/c", "p/d/"), ("p/e", "")]);
}

/// `google.storage.v2.DeleteObjectRequest`: `if_generation_match`, and missing objects.
#[tokio::test]
async fn a_removal_has_preconditions() {
    let server = server();
    let generation = server.insert(BUCKET, "object", b"hello");
    let mut client = connect(&server).await;
    let status = client.delete_object(delete("object", Some(generation - 1))).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(server.objects(BUCKET).len(), 1);
    client.delete_object(delete("object", Some(generation))).await.unwrap();
    assert!(server.objects(BUCKET).is_empty());
    let status = client.delete_object(delete("object", None)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

/// `google.storage.v2.CreateBucketRequest` and `GetBucketRequest`.
#[tokio::test]
async fn buckets_are_made_once() {
    let server = server();
    let mut client = connect(&server).await;
    let request = CreateBucketRequest {
        parent: "projects/_".to_owned(),
        bucket_id: "other".to_owned(),
        bucket: Some(Bucket { project: "projects/mine".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    let made = client.create_bucket(request.clone()).await.unwrap().into_inner();
    assert_eq!((made.name.as_str(), made.bucket_id.as_str()), ("projects/_/buckets/other", "other"));
    assert_eq!(client.create_bucket(request).await.unwrap_err().code(), Code::AlreadyExists);
    let get = |name: &str| routed(GetBucketRequest { name: name.to_owned(), ..Default::default() });
    assert_eq!(client.get_bucket(get("projects/_/buckets/other")).await.unwrap().into_inner(), made);
    let status = client.get_bucket(get("projects/_/buckets/none")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

/// The server reports an unsupported request as an error.
#[tokio::test]
async fn unsupported_methods_are_unimplemented() {
    let server = server();
    let mut client = connect(&server).await;
    let status = client.read_object(routed(ReadObjectRequest::default())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let request = ListObjectsRequest { match_glob: "*".to_owned(), ..Default::default() };
    assert_eq!(client.list_objects(list(request)).await.unwrap_err().code(), Code::Unimplemented);
}
