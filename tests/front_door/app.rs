//! What an app does through its SDK, in few words.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

/// A number of GB 11643-1999 that nobody has: the area is Beijing's, the check digit is right.
pub const CN_RESIDENT_ID: &str = "11010519491231002X";

/// An answer that is an error, as an SDK shows it.
#[derive(Debug)]
pub struct Failed {
    pub status: u16,
    pub code: String,
    pub message: String,
    pub rule: Option<String>,
}

/// The error that this must have ended in.
#[track_caller]
pub fn failed<T: std::fmt::Debug, E>(result: Result<T, SdkError<E, HttpResponse>>) -> Failed
where
    E: ProvideErrorMetadata + std::fmt::Debug + std::error::Error,
{
    let error = result.expect_err("this must be refused");
    let response = error.raw_response().unwrap_or_else(|| panic!("no answer: {error:?}"));
    Failed {
        status: response.status().as_u16(),
        code: error.code().unwrap_or_default().to_owned(),
        message: error.message().unwrap_or_default().to_owned(),
        rule: response.headers().get("x-domicile-rule").map(str::to_owned),
    }
}

impl Failed {
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code.as_str()), (status, code), "{}", self.message);
    }
}

/// A bucket without a `LocationConstraint`: its home is where its client signs for.
pub async fn bucket(client: &Client, name: &str) {
    client.create_bucket().bucket(name).send().await.unwrap();
}

pub async fn bucket_in(client: &Client, name: &str, region: &str) {
    let constraint = BucketLocationConstraint::from(region);
    let configuration = CreateBucketConfiguration::builder().location_constraint(constraint).build();
    client.create_bucket().bucket(name).create_bucket_configuration(configuration).send().await.unwrap();
}

pub async fn put(client: &Client, bucket: &str, key: &str, body: impl Into<Vec<u8>>) {
    let body = ByteStream::from(body.into());
    client.put_object().bucket(bucket).key(key).body(body).send().await.unwrap();
}

pub async fn put_tagged(client: &Client, bucket: &str, key: &str, tags: &str, body: impl Into<Vec<u8>>) {
    let body = ByteStream::from(body.into());
    client.put_object().bucket(bucket).key(key).tagging(tags).body(body).send().await.unwrap();
}

pub async fn get(client: &Client, bucket: &str, key: &str) -> Vec<u8> {
    let answer = client.get_object().bucket(bucket).key(key).send().await.unwrap();
    answer.body.collect().await.unwrap().to_vec()
}

/// All keys of a bucket.
pub async fn keys(client: &Client, bucket: &str) -> Vec<String> {
    let list = client.list_objects_v2().bucket(bucket).send().await.unwrap();
    list.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
}

/// Text in which no detector finds anything.
pub fn clean_text(bytes: usize) -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog and sleeps\n".iter().copied().cycle().take(bytes).collect()
}
