//! A remote on the server, which the test can read without larder.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::Deref;

use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MultipartUpload;
use larder_testkit::proxy::{HttpProxy, HttpRequest};
use larder_tests::{Sandbox, Server};
use tokio::runtime::{Builder, Runtime};

/// A sandbox with a remote below its own prefix, which is emptied at the end.
pub(crate) struct Store {
    sandbox: Sandbox,
    runtime: Runtime,
    client: Client,
    pub(crate) bucket: String,
    /// The prefix, with a trailing `/`.
    prefix: String,
}

impl Deref for Store {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Store {
    pub(crate) fn new() -> Self {
        let sandbox = Sandbox::on_server(Server::of("s3"));
        let url = sandbox.remote_url();
        let place = url.split('?').next().unwrap().strip_prefix("s3://").unwrap();
        let (bucket, prefix) = place.split_once('/').unwrap();
        let (bucket, prefix) = (bucket.to_owned(), format!("{prefix}/"));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let config = runtime.block_on(aws_config::load_defaults(BehaviorVersion::latest()));
        let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self { sandbox, runtime, client: Client::from_conf(config), bucket, prefix }
    }

    /// Returns the URL of a remote below this one. `name` is literal.
    pub(crate) fn below(&self, prefix: &str) -> String {
        let url = self.remote_url();
        let (place, query) = url.split_once('?').map_or((&*url, None), |(place, query)| (place, Some(query)));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{place}/{prefix}{query}")
    }

    /// Returns the remote as larder shows it.
    pub(crate) fn shown(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }

    /// Returns the URL of a remote in another bucket.
    pub(crate) fn in_bucket(&self, bucket: &str) -> String {
        self.remote_url().replacen(&self.bucket, bucket, 1)
    }

    /// Returns the prefix as a part of a unique name.
    pub(crate) fn unique(&self) -> &str {
        self.prefix.trim_end_matches('/').rsplit('/').next().unwrap()
    }

    /// Returns the keys below the prefix in order, without larder's own.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.runtime.block_on(async {
            let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix);
            let mut pages = list.into_paginator().send();
            let mut keys = Vec::new();
            while let Some(page) = pages.next().await {
                let page = page.unwrap();
                let names = page.contents().iter().map(|object| object.key().unwrap());
                keys.extend(names.map(|key| key.strip_prefix(&self.prefix).unwrap().to_owned()));
            }
            keys.retain(|key| !format!("/{key}").contains("/.larder/"));
            keys.sort();
            keys
        })
    }

    /// Returns the key of the only object.
    #[track_caller]
    pub(crate) fn key(&self) -> String {
        let mut keys = self.keys();
        assert_eq!(keys.len(), 1, "expected one object: {keys:?}");
        keys.remove(0)
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        let get = self.client.get_object().bucket(&self.bucket).key(self.object(key));
        let body = self.runtime.block_on(async { get.send().await.unwrap().body.collect().await.unwrap() });
        body.to_vec()
    }

    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let body = ByteStream::from(bytes.to_vec());
        let put = self.client.put_object().bucket(&self.bucket).key(self.object(key)).body(body);
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Removes all objects.
    pub(crate) fn empty_remote(&self) {
        self.runtime.block_on(self.empty(&self.bucket, &self.prefix));
    }

    /// Returns the open multipart uploads below the prefix. MinIO lists them only for the empty prefix.
    pub(crate) fn open_uploads(&self) -> Vec<MultipartUpload> {
        self.runtime.block_on(async {
            let (mut open, mut key, mut id) = (Vec::new(), None, None);
            loop {
                let list = self.client.list_multipart_uploads().bucket(&self.bucket);
                let page = list.set_key_marker(key).set_upload_id_marker(id).send().await.unwrap();
                open.extend(page.uploads().iter().filter(|upload| self.is_ours(upload)).cloned());
                if !page.is_truncated().unwrap_or_default() {
                    return open;
                }
                key = page.next_key_marker().map(str::to_owned);
                id = page.next_upload_id_marker().map(str::to_owned);
            }
        })
    }

    /// Asserts that an upload left no object and no parts.
    #[track_caller]
    pub(crate) fn assert_no_trace(&self) {
        assert_eq!(self.keys(), Vec::<String>::new());
        self.assert_nothing_open();
    }

    #[track_caller]
    pub(crate) fn assert_nothing_open(&self) {
        let open = self.open_uploads();
        assert!(open.is_empty(), "open uploads: {open:?}");
        self.assert_clean();
    }

    /// Returns the number of an upload's parts on the server.
    pub(crate) fn parts(&self, upload: &MultipartUpload) -> usize {
        let (key, id) = (upload.key().unwrap(), upload.upload_id().unwrap());
        let list = self.client.list_parts().bucket(&self.bucket).key(key).upload_id(id);
        // The upload may have ended in the meantime.
        self.runtime.block_on(list.send()).map_or(0, |listed| listed.parts().len())
    }

    /// Creates a bucket for tests that affect a whole bucket, and allows everyone these actions.
    pub(crate) fn public_bucket(&self, actions: &[&str]) -> PublicBucket<'_> {
        let name = format!("larder-{}", self.unique());
        self.runtime.block_on(self.client.create_bucket().bucket(&name).send()).unwrap();
        let bucket = PublicBucket { store: self, name };
        if !actions.is_empty() {
            bucket.allow(actions);
        }
        bucket
    }

    fn object(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn is_ours(&self, upload: &MultipartUpload) -> bool {
        upload.key().is_some_and(|key| key.starts_with(&self.prefix))
    }

    async fn empty(&self, bucket: &str, prefix: &str) {
        let mut pages = self.client.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        while let Some(Ok(page)) = pages.next().await {
            for object in page.contents() {
                let delete =
                    self.client.delete_object().bucket(bucket).set_key(object.key().map(str::to_owned));
                let _ = delete.send().await;
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The cleanup does not decide the test. The server may be the user's own, so do not fill it.
        self.empty_remote();
    }
}

/// A bucket. Drop removes it.
pub(crate) struct PublicBucket<'a> {
    store: &'a Store,
    pub(crate) name: String,
}

impl PublicBucket<'_> {
    /// Allows everyone these actions, and no others.
    pub(crate) fn allow(&self, actions: &[&str]) {
        let name = &self.name;
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": actions.iter().map(|action| {
                let on_objects = if action.ends_with("Bucket") { "" } else { "/*" };
                serde_json::json!({
                    "Effect": "Allow",
                    "Principal": { "AWS": ["*"] },
                    "Action": [action],
                    "Resource": [format!("arn:aws:s3:::{name}{on_objects}")],
                })
            }).collect::<Vec<_>>(),
        });
        let put = self.store.client.put_bucket_policy().bucket(name).policy(policy.to_string());
        self.store.runtime.block_on(put.send()).unwrap();
    }
}

impl Drop for PublicBucket<'_> {
    fn drop(&mut self) {
        self.store.runtime.block_on(async {
            self.store.empty(&self.name, "").await;
            let _ = self.store.client.delete_bucket().bucket(&self.name).send().await;
        });
    }
}

/// Starts a proxy in front of the server.
pub(crate) fn proxy_to_server() -> HttpProxy {
    HttpProxy::start(server_address()).unwrap()
}

fn server_address() -> SocketAddr {
    let url = std::env::var("AWS_ENDPOINT_URL_S3").or_else(|_| std::env::var("AWS_ENDPOINT_URL"));
    let url = url.expect("a proxy needs a server in AWS_ENDPOINT_URL_S3");
    let host = url.strip_prefix("http://").expect("a proxy needs a server without TLS");
    host.trim_end_matches('/').to_socket_addrs().unwrap().next().unwrap()
}

/// Returns the requests as `METHOD`, with a detail that distinguishes the operations of one method.
pub(crate) fn operations(proxy: &HttpProxy) -> Vec<String> {
    let marks = ["delimiter", "uploads", "uploadId", "partNumber"];
    let operation = |request: &HttpRequest| {
        let marks = marks.into_iter().filter(|mark| request.has_query(mark));
        [request.method()].into_iter().chain(marks).collect::<Vec<_>>().join(" ")
    };
    proxy.take_requests().iter().map(operation).collect()
}
