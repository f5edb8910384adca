//! `object_store` and `opendal` against a running gateway. Run by `tests/compat/run`; prints one line a check.

use std::error::Error;
use std::future::Future;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{Attribute, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use opendal::Operator;

type Outcome = Result<(), Box<dyn Error>>;

const BUCKET: &str = "compat-rust";

#[tokio::main]
async fn main() -> Outcome {
    let store = store(BUCKET)?;
    check("object_store: an object comes back", object_comes_back(&store)).await;
    check("object_store: ranges", ranges(&store)).await;
    check("object_store: an upload in parts", parts(&store)).await;
    check("object_store: an upload that is aborted leaves nothing", aborted(&store)).await;
    check("object_store: create only, and update of a known version", conditions(&store)).await;
    check("object_store: lists, flat and by folder", lists(&store)).await;
    check("object_store: copy and rename", copies(&store)).await;
    check("object_store: what is not there is NotFound", missing(&store)).await;
    check("object_store: many are deleted at once", deletes(&store)).await;

    opendal::install_default();
    let operator = operator()?;
    check("opendal: write, stat and read", opendal_round(&operator)).await;
    check("opendal: an upload in parts, four at a time", opendal_parts(&operator)).await;
    check("opendal: list and copy", opendal_list(&operator)).await;
    check("opendal: a write that must not replace", opendal_condition(&operator)).await;
    check("opendal: presigned requests are made", opendal_presigned(&operator)).await;
    check("opendal: all is removed", opendal_removed(&operator)).await;
    Ok(())
}

async fn check(name: &str, run: impl Future<Output = Outcome>) {
    match run.await {
        Ok(()) => println!("ok    {name}"),
        Err(error) => println!("FAIL  {name}\n      | {error}"),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("{got:?} instead of {expected:?}").into()) }
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn store(bucket: &str) -> object_store::Result<AmazonS3> {
    AmazonS3Builder::new()
        .with_endpoint(env("ENDPOINT"))
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id(env("AWS_ACCESS_KEY_ID"))
        .with_secret_access_key(env("AWS_SECRET_ACCESS_KEY"))
        .with_bucket_name(bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
}

/// Bytes in which an error of position would show.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n ^ (n >> 8).wrapping_mul(31)) as u8).collect()
}

async fn read(store: &AmazonS3, key: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(store.get(&Path::from(key)).await?.bytes().await?.to_vec())
}

async fn object_comes_back(store: &AmazonS3) -> Outcome {
    let body = bytes(70_000);
    let mut options = PutOptions::default();
    options.attributes.insert(Attribute::ContentType, "text/x-test".into());
    store.put_opts(&Path::from("folder/object"), PutPayload::from(body.clone()), options).await?;
    let got = store.get(&Path::from("folder/object")).await?;
    same(
        got.attributes.get(&Attribute::ContentType).map(|value| value.to_string()),
        Some("text/x-test".into()),
    )?;
    same(got.bytes().await?.to_vec() == body, true)?;
    for key in ["année/日本 €.txt", "a b+c"] {
        // `Path::from` would percent-encode what is not ASCII: the key itself would be that.
        let path = Path::parse(key)?;
        store.put(&path, PutPayload::from(key.as_bytes().to_vec())).await?;
        same(store.get(&path).await?.bytes().await?.to_vec(), key.as_bytes().to_vec())?;
    }
    Ok(())
}

async fn ranges(store: &AmazonS3) -> Outcome {
    let body = bytes(70_000);
    let path = Path::from("folder/object");
    same(store.get_range(&path, 1000..2000).await?.to_vec(), body[1000..2000].to_vec())?;
    let several = store.get_ranges(&path, &[0..10, 69_990..70_000]).await?;
    same(several[1].to_vec(), body[69_990..].to_vec())
}

async fn parts(store: &AmazonS3) -> Outcome {
    let body = bytes(11 << 20);
    let mut upload = store.put_multipart(&Path::from("parts")).await?;
    let sent: Vec<_> = body.chunks(5 << 20).map(|part| upload.put_part(part.to_vec().into())).collect();
    futures_util::future::try_join_all(sent).await?;
    upload.complete().await?;
    same(read(store, "parts").await? == body, true)
}

async fn aborted(store: &AmazonS3) -> Outcome {
    let mut upload = store.put_multipart(&Path::from("aborted")).await?;
    upload.put_part(bytes(5 << 20).into()).await?;
    upload.abort().await?;
    same(matches!(store.head(&Path::from("aborted")).await, Err(object_store::Error::NotFound { .. })), true)
}

async fn conditions(store: &AmazonS3) -> Outcome {
    let path = Path::from("condition");
    let first = store.put_opts(&path, "first".into(), PutMode::Create.into()).await?;
    let again = store.put_opts(&path, "again".into(), PutMode::Create.into()).await;
    same(matches!(again, Err(object_store::Error::AlreadyExists { .. })), true)?;
    // RGW 16.2 knows an ETag in If-Match of a PUT without its quotes only.
    let is_rgw = std::env::var("BACKEND").is_ok_and(|backend| backend == "rgw");
    let e_tag = first.e_tag.map(|e_tag| if is_rgw { e_tag.replace('"', "") } else { e_tag });
    let known = UpdateVersion { e_tag, version: None };
    store.put_opts(&path, "second".into(), PutMode::Update(known.clone()).into()).await?;
    let stale = store.put_opts(&path, "third".into(), PutMode::Update(known).into()).await;
    same(matches!(stale, Err(object_store::Error::Precondition { .. })), true)?;
    same(read(store, "condition").await?, b"second".to_vec())
}

async fn lists(store: &AmazonS3) -> Outcome {
    let all: Vec<_> = store.list(None).map_ok(|object| object.location.to_string()).try_collect().await?;
    let expected = ["a b+c", "année/日本 €.txt", "condition", "folder/object", "parts"];
    same(all, expected.map(String::from).to_vec())?;
    let top = store.list_with_delimiter(None).await?;
    let folders: Vec<_> = top.common_prefixes.iter().map(ToString::to_string).collect();
    same(folders, vec!["année".to_owned(), "folder".to_owned()])?;
    let after: Vec<_> = store.list_with_offset(None, &Path::from("condition")).try_collect().await?;
    same(after.len(), 2)
}

async fn copies(store: &AmazonS3) -> Outcome {
    store.copy(&Path::from("folder/object"), &Path::from("copy")).await?;
    store.rename(&Path::from("copy"), &Path::from("renamed")).await?;
    same(read(store, "renamed").await? == bytes(70_000), true)?;
    same(store.head(&Path::from("copy")).await.is_err(), true)
}

async fn missing(store: &AmazonS3) -> Outcome {
    let nothing = store.get(&Path::from("nothing")).await;
    same(matches!(nothing, Err(object_store::Error::NotFound { .. })), true)?;
    let nowhere = self::store("compat-nowhere")?.put(&Path::from("key"), "text".into()).await;
    same(matches!(nowhere, Err(object_store::Error::NotFound { .. })), true)
}

async fn deletes(store: &AmazonS3) -> Outcome {
    let all = store.list(None).map_ok(|object| object.location).boxed();
    let deleted: Vec<_> = store.delete_stream(all).try_collect().await?;
    same(deleted.len(), 6)?;
    same(store.list(None).count().await, 0)
}

fn operator() -> opendal::Result<Operator> {
    let s3 = opendal::services::S3::default()
        .bucket(BUCKET)
        .endpoint(&env("ENDPOINT"))
        .region("us-east-1")
        .access_key_id(&env("AWS_ACCESS_KEY_ID"))
        .secret_access_key(&env("AWS_SECRET_ACCESS_KEY"));
    Operator::new(s3)
}

async fn opendal_round(operator: &Operator) -> Outcome {
    operator.write_with("folder/object", bytes(70_000)).content_type("text/x-test").await?;
    let stat = operator.stat("folder/object").await?;
    same((stat.content_length(), stat.content_type()), (70_000, Some("text/x-test")))?;
    same(
        operator.read_with("folder/object").range(100..200).await?.to_vec(),
        bytes(70_000)[100..200].to_vec(),
    )
}

async fn opendal_parts(operator: &Operator) -> Outcome {
    let body = bytes(17 << 20);
    let mut writer = operator.writer_with("parts").chunk(5 << 20).concurrent(4).await?;
    writer.write(body.clone()).await?;
    writer.close().await?;
    same(operator.read("parts").await?.to_vec() == body, true)
}

async fn opendal_list(operator: &Operator) -> Outcome {
    operator.copy("folder/object", "folder/copy").await?;
    let listed = operator.list_with("").recursive(true).await?;
    let mut paths: Vec<_> = listed.iter().map(|entry| entry.path().to_owned()).collect();
    paths.retain(|path| !path.ends_with('/'));
    same(paths, ["folder/copy", "folder/object", "parts"].map(String::from).to_vec())?;
    let top = operator.list("").await?;
    same(top.iter().any(|entry| entry.path() == "folder/"), true)
}

async fn opendal_condition(operator: &Operator) -> Outcome {
    let refused = operator.write_with("parts", "text").if_not_exists(true).await;
    same(refused.err().map(|error| error.kind()), Some(opendal::ErrorKind::ConditionNotMatch))
}

async fn opendal_presigned(operator: &Operator) -> Outcome {
    let request = operator.presign_read("parts", std::time::Duration::from_secs(60)).await?;
    same(request.uri().query().is_some_and(|query| query.contains("X-Amz-Signature=")), true)
}

async fn opendal_removed(operator: &Operator) -> Outcome {
    operator.delete_with("folder/").recursive(true).await?;
    operator.delete("parts").await?;
    same(operator.list_with("").recursive(true).await?.iter().filter(|e| !e.path().ends_with('/')).count(), 0)
}
