//! The implementation of each method.

use googleapis_tonic_google_storage_v2::google::storage::v2::{
    Bucket, CreateBucketRequest, DeleteObjectRequest, GetBucketRequest, GetObjectRequest, ListObjectsRequest,
    ListObjectsResponse, Object,
};
use prost::Message;

use crate::gcs::GcsServerState;
use crate::gcs::call::GcsCall;
use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::ReplyDamage;
use crate::gcs::grpc::message;
use crate::gcs::listing::Selection;
use crate::gcs::object::Preconditions;

/// A request message.
pub(super) trait Method: Message + Default + Send + 'static {
    type Payload: Message + Default + Send + 'static;

    const CALL: GcsCall;
    /// Whether the metadata of the request must also name the bucket.
    const IS_ROUTED: bool = true;

    /// Returns the names of the bucket and the object.
    fn names(&self) -> [&str; 2];

    fn serve(self, shared: &GcsServerState) -> Result<Self::Payload, GcsFailure>;

    /// Applies damage to the answer.
    fn damage(answer: Self::Payload, _: &ReplyDamage) -> Self::Payload {
        answer
    }
}

/// Converts a generation. 0 means the live one.
fn generation(generation: i64) -> Option<i64> {
    Some(generation).filter(|generation| *generation != 0)
}

impl Method for GetObjectRequest {
    type Payload = Object;

    const CALL: GcsCall = GcsCall::GetObject;

    fn names(&self) -> [&str; 2] {
        [&self.bucket, &self.object]
    }

    fn serve(self, shared: &GcsServerState) -> Result<Object, GcsFailure> {
        let preconditions = Preconditions {
            generation_match: self.if_generation_match,
            generation_not_match: self.if_generation_not_match,
            metageneration_match: self.if_metageneration_match,
            metageneration_not_match: self.if_metageneration_not_match,
        };
        let bucket = message::bucket(&self.bucket)?;
        let found = shared.store.get(bucket, &self.object, generation(self.generation), &preconditions)?;
        Ok(message::object(&found))
    }

    fn damage(mut answer: Object, damage: &ReplyDamage) -> Object {
        if damage.takes_checksum()
            && let Some(crc32c) = answer.checksums.as_mut().and_then(|checksums| checksums.crc32c.as_mut())
        {
            *crc32c = !*crc32c;
        }
        answer
    }
}

impl Method for ListObjectsRequest {
    type Payload = ListObjectsResponse;

    const CALL: GcsCall = GcsCall::ListObjects;

    fn names(&self) -> [&str; 2] {
        [&self.parent, ""]
    }

    fn serve(self, shared: &GcsServerState) -> Result<ListObjectsResponse, GcsFailure> {
        let is_beyond = self.soft_deleted || !self.match_glob.is_empty() || !self.filter.is_empty();
        if is_beyond || self.include_folders_as_prefixes {
            return Err(GcsFailure::unsupported("listings of deleted objects, by pattern, or of folders"));
        }
        let page_size = usize::try_from(self.page_size);
        let selection = Selection {
            prefix: self.prefix,
            delimiter: self.delimiter,
            start: self.lexicographic_start,
            end: self.lexicographic_end,
            token: self.page_token,
            page_size: page_size.map_err(|_| GcsFailure::invalid("The page size is negative."))?,
            with_trailing_delimiter: self.include_trailing_delimiter,
        };
        let page = shared.store.list(message::bucket(&self.parent)?, &selection)?;
        Ok(ListObjectsResponse {
            objects: page.objects.iter().map(|object| message::object(object)).collect(),
            prefixes: page.prefixes,
            next_page_token: page.next_token,
        })
    }
}

impl Method for DeleteObjectRequest {
    type Payload = ();

    const CALL: GcsCall = GcsCall::DeleteObject;

    fn names(&self) -> [&str; 2] {
        [&self.bucket, &self.object]
    }

    fn serve(self, shared: &GcsServerState) -> Result<(), GcsFailure> {
        let preconditions = Preconditions {
            generation_match: self.if_generation_match,
            generation_not_match: self.if_generation_not_match,
            metageneration_match: self.if_metageneration_match,
            metageneration_not_match: self.if_metageneration_not_match,
        };
        let bucket = message::bucket(&self.bucket)?;
        shared.store.delete(bucket, &self.object, generation(self.generation), &preconditions)
    }
}

impl Method for CreateBucketRequest {
    type Payload = Bucket;

    const CALL: GcsCall = GcsCall::CreateBucket;
    // The request names a project.
    const IS_ROUTED: bool = false;

    fn names(&self) -> [&str; 2] {
        [&self.bucket_id, ""]
    }

    fn serve(self, shared: &GcsServerState) -> Result<Bucket, GcsFailure> {
        if self.bucket_id.is_empty() {
            return Err(GcsFailure::invalid("The bucket has no name."));
        }
        let created = shared.store.create_bucket(&self.bucket_id)?;
        Ok(message::bucket_message(&self.bucket_id, created))
    }
}

impl Method for GetBucketRequest {
    type Payload = Bucket;

    const CALL: GcsCall = GcsCall::GetBucket;

    fn names(&self) -> [&str; 2] {
        [&self.name, ""]
    }

    fn serve(self, shared: &GcsServerState) -> Result<Bucket, GcsFailure> {
        let name = message::bucket(&self.name)?;
        Ok(message::bucket_message(name, shared.store.bucket(name)?))
    }
}
