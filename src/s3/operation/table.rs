//! The one table of S3 operations: how each is recognised, and what this gateway does with it.
//!
//! What is not here does not exist for the gateway. `docs/operations.md` is rendered from this table.
//! Not for parsing requests: that is the module above.

use std::fmt::Write as _;

use http::Method;

/// What the request path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Service,
    Bucket,
    Object,
}

/// What the gateway does with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handling {
    /// Concerns one object in one location: forwarded with everything that the client sent.
    Single,
    /// Concerns several objects, locations or requests: taken apart and put together by the gateway.
    Spanning,
    /// Concerns a bucket as the gateway knows it.
    Bucket,
    /// Refused with `NotImplemented`.
    NotImplemented,
}

/// What an operation does to what it names; apps are authorised by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Read,
    List,
    Write,
    Delete,
}

impl Access {
    /// Whether an app with read access only may do it.
    pub fn is_read_only(self) -> bool {
        matches!(self, Access::Read | Access::List)
    }
}

/// The HTTP methods that S3 uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Get,
    Head,
    Put,
    Post,
    Delete,
    Options,
}

impl Verb {
    pub(super) fn of(method: &Method) -> Option<Verb> {
        match method.as_str() {
            "GET" => Some(Verb::Get),
            "HEAD" => Some(Verb::Head),
            "PUT" => Some(Verb::Put),
            "POST" => Some(Verb::Post),
            "DELETE" => Some(Verb::Delete),
            "OPTIONS" => Some(Verb::Options),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Head => "HEAD",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
            Verb::Options => "OPTIONS",
        }
    }
}

/// What tells an operation from the others with its method and scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decider {
    /// A query key, whatever its value.
    Query(&'static str),
    /// A query key with this very value.
    Value(&'static str, &'static str),
    /// A request header.
    Header(&'static str),
}

impl Decider {
    pub(super) fn query_key(self) -> Option<&'static str> {
        match self {
            Decider::Query(key) | Decider::Value(key, _) => Some(key),
            Decider::Header(_) => None,
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub name: &'static str,
    pub verb: Verb,
    pub scope: Scope,
    pub deciders: &'static [Decider],
    pub handling: Handling,
    pub access: Access,
    pub note: &'static str,
}

macro_rules! operations {
    ($($name:ident $verb:ident $scope:ident [$($decider:expr),*] $handling:ident $access:ident $note:expr;)*) => {
        /// An S3 operation, by its name in the S3 API reference.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation { $($name),* }

        impl Operation {
            /// All operations in the order of the table.
            pub const ALL: &'static [Operation] = &[$(Operation::$name),*];

            pub(super) fn row(self) -> &'static Row {
                match self {
                    $(Operation::$name => &Row {
                        name: stringify!($name),
                        verb: Verb::$verb,
                        scope: Scope::$scope,
                        deciders: &[$($decider),*],
                        handling: Handling::$handling,
                        access: Access::$access,
                        note: $note,
                    }),*
                }
            }
        }
    };
}

impl Operation {
    /// The name in the S3 API reference, for example `GetObject`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn kind(self) -> Handling {
        self.row().handling
    }

    pub fn access(self) -> Access {
        self.row().access
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The table of `docs/operations.md`.
pub fn render_markdown_table() -> String {
    let mut table = String::from("| operation | request | handling | why |\n|---|---|---|---|\n");
    for operation in Operation::ALL {
        let row = operation.row();
        let handling = match row.handling {
            Handling::Single => "forwarded",
            Handling::Spanning | Handling::Bucket => "understood",
            Handling::NotImplemented => "refused",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {} | `{}` | {handling} | {} |", row.name, shape(row), row.note);
    }
    table
}

/// A row's request as a reader would write it: `PUT /bucket/key?uploadId`.
fn shape(row: &Row) -> String {
    let mut text = String::from(row.verb.name());
    text.push_str(match row.scope {
        Scope::Service => " /",
        Scope::Bucket => " /bucket",
        Scope::Object => " /bucket/key",
    });
    let mut separator = '?';
    let mut headers = String::new();
    for decider in row.deciders {
        match decider {
            Decider::Query(key) => {
                text.push(separator);
                text.push_str(key);
                separator = '&';
            }
            Decider::Value(key, value) => {
                let _ = write!(text, "{separator}{key}={value}");
                separator = '&';
            }
            Decider::Header(name) => {
                let _ = write!(headers, " + {name}");
            }
        }
    }
    text + &headers
}

use Decider::{Header as H, Query as Q, Value as V};

const ACL: &str = "Access is decided by the gateway's apps and policies";
const NEVER_SET: &str = "Answered as for a bucket that never had one";
const COPIES: &str = "It would make copies that no decision has seen";
const EVENTS: &str = "It would send object names out of their jurisdiction";
const LOCK: &str = "A locked version stays where it is: a new write makes a version beside it";
const LIFECYCLE: &str = "It would change objects behind the catalogue's back";
const REPORTS: &str = "It would write object names into another bucket";
const SETTINGS: &str = "Set it at each location itself";
const METADATA: &str = "It would write object names into a table elsewhere";
const PINNED: &str = "Goes to the location that the upload is pinned to";
const EXPRESS: &str = "Directory buckets are not supported";
const ALIKE: &str = "Given to all locations alike, or to none; a refusal names the location that cannot";
const HOME: &str = "As the home location has it";

operations! {
    // Service.
    ListBuckets Get Service [] Bucket List "Answered from the catalogue";

    // Buckets.
    CreateBucket Put Bucket [] Bucket Write "`LocationConstraint` names the home location and is a label source; with object lock in all locations, or not at all";
    HeadBucket Head Bucket [] Bucket Read "Answered from the catalogue";
    DeleteBucket Delete Bucket [] Bucket Delete "Only when no object is placed in it";
    GetBucketLocation Get Bucket [Q("location")] Bucket Read "Answered from the catalogue";
    GetBucketVersioning Get Bucket [Q("versioning")] Bucket Read "Answered from the catalogue";
    ListObjects Get Bucket [] Spanning List "Merged from all locations, filtered by the catalogue";
    ListObjectsV2 Get Bucket [V("list-type", "2")] Spanning List "Merged from all locations, filtered by the catalogue";
    ListMultipartUploads Get Bucket [Q("uploads")] Spanning List "Merged from all locations; upload ids are translated";
    DeleteObjects Post Bucket [Q("delete")] Spanning Delete "Split by location";
    ListObjectVersions Get Bucket [Q("versions")] Spanning List "Merged from all locations, in the order of the catalogue; version ids are translated";
    PutBucketVersioning Put Bucket [Q("versioning")] Bucket Write "Kept alike in all locations; refused by the name of one that cannot. A bucket with object lock keeps versions for good";
    PostObject Post Bucket [] Spanning Write "A form with a signed policy; its file is stored like a PutObject";

    // Objects.
    PutObject Put Object [] Single Write "Labelled, decided, placed, recorded";
    GetObject Get Object [] Single Read "";
    HeadObject Head Object [] Single Read "";
    DeleteObject Delete Object [] Single Delete "";
    CopyObject Put Object [H("x-amz-copy-source")] Spanning Write "The copy is decided as a new write; it may cross locations";
    GetObjectAttributes Get Object [Q("attributes")] Single Read "";
    GetObjectTagging Get Object [Q("tagging")] Single Read "";
    PutObjectTagging Put Object [Q("tagging")] Single Write "What the tags add to the labels is decided first; 403 where the object may not rest under them";
    DeleteObjectTagging Delete Object [Q("tagging")] Single Write "Labels stay: they only add up";

    // Multipart uploads.
    CreateMultipartUpload Post Object [Q("uploads")] Spanning Write "Decided here, before the first part; the upload is pinned to its location";
    UploadPart Put Object [Q("partNumber"), Q("uploadId")] Single Write PINNED;
    UploadPartCopy Put Object [Q("partNumber"), Q("uploadId"), H("x-amz-copy-source")] Spanning Write "The part is read where its source rests and judged like any part";
    CompleteMultipartUpload Post Object [Q("uploadId")] Spanning Write "Recorded like a write";
    AbortMultipartUpload Delete Object [Q("uploadId")] Spanning Delete PINNED;
    ListParts Get Object [Q("uploadId")] Spanning List PINNED;

    // Access control.
    GetBucketAcl Get Bucket [Q("acl")] Bucket Read "Answered: its creator has full control, and nobody else has any";
    PutBucketAcl Put Bucket [Q("acl")] Bucket Write "A list that gives its owner all and nobody else anything, which changes nothing";
    GetObjectAcl Get Object [Q("acl")] Single Read "The bucket's owner stands for the location's account";
    PutObjectAcl Put Object [Q("acl")] Single Write "Lists that grant nobody but the owner anything: access is decided by the gateway's apps and policies";
    GetBucketPolicy Get Bucket [Q("policy")] Bucket Read NEVER_SET;
    PutBucketPolicy Put Bucket [Q("policy")] NotImplemented Write ACL;
    DeleteBucketPolicy Delete Bucket [Q("policy")] Bucket Delete NEVER_SET;
    GetBucketPolicyStatus Get Bucket [Q("policyStatus")] Bucket Read "Answered: nothing here is public";
    GetBucketOwnershipControls Get Bucket [Q("ownershipControls")] Bucket Read HOME;
    PutBucketOwnershipControls Put Bucket [Q("ownershipControls")] Bucket Write ALIKE;
    DeleteBucketOwnershipControls Delete Bucket [Q("ownershipControls")] Bucket Delete ALIKE;
    GetPublicAccessBlock Get Bucket [Q("publicAccessBlock")] Bucket Read HOME;
    PutPublicAccessBlock Put Bucket [Q("publicAccessBlock")] Bucket Write ALIKE;
    DeletePublicAccessBlock Delete Bucket [Q("publicAccessBlock")] Bucket Delete ALIKE;
    GetBucketAbac Get Bucket [Q("abac")] NotImplemented Read ACL;
    PutBucketAbac Put Bucket [Q("abac")] NotImplemented Write ACL;

    // Locks.
    GetObjectLockConfiguration Get Bucket [Q("object-lock")] Bucket Read HOME;
    PutObjectLockConfiguration Put Bucket [Q("object-lock")] Bucket Write "For a bucket that was created with it; given to all locations alike, or to none";
    GetObjectLegalHold Get Object [Q("legal-hold")] Single Read "";
    PutObjectLegalHold Put Object [Q("legal-hold")] Single Write LOCK;
    GetObjectRetention Get Object [Q("retention")] Single Read "";
    PutObjectRetention Put Object [Q("retention")] Single Write LOCK;

    // What would act without a request.
    GetBucketLifecycleConfiguration Get Bucket [Q("lifecycle")] Bucket Read HOME;
    PutBucketLifecycleConfiguration Put Bucket [Q("lifecycle")] Bucket Write ALIKE;
    DeleteBucketLifecycle Delete Bucket [Q("lifecycle")] Bucket Delete ALIKE;
    GetBucketReplication Get Bucket [Q("replication")] Bucket Read NEVER_SET;
    PutBucketReplication Put Bucket [Q("replication")] NotImplemented Write COPIES;
    DeleteBucketReplication Delete Bucket [Q("replication")] Bucket Delete NEVER_SET;
    GetBucketNotificationConfiguration Get Bucket [Q("notification")] Bucket Read NEVER_SET;
    PutBucketNotificationConfiguration Put Bucket [Q("notification")] NotImplemented Write EVENTS;
    GetBucketLogging Get Bucket [Q("logging")] Bucket Read NEVER_SET;
    PutBucketLogging Put Bucket [Q("logging")] NotImplemented Write REPORTS;
    ListBucketInventoryConfigurations Get Bucket [Q("inventory")] NotImplemented List REPORTS;
    GetBucketInventoryConfiguration Get Bucket [Q("inventory"), Q("id")] NotImplemented Read REPORTS;
    PutBucketInventoryConfiguration Put Bucket [Q("inventory"), Q("id")] NotImplemented Write REPORTS;
    DeleteBucketInventoryConfiguration Delete Bucket [Q("inventory"), Q("id")] NotImplemented Delete REPORTS;
    ListBucketAnalyticsConfigurations Get Bucket [Q("analytics")] NotImplemented List REPORTS;
    GetBucketAnalyticsConfiguration Get Bucket [Q("analytics"), Q("id")] NotImplemented Read REPORTS;
    PutBucketAnalyticsConfiguration Put Bucket [Q("analytics"), Q("id")] NotImplemented Write REPORTS;
    DeleteBucketAnalyticsConfiguration Delete Bucket [Q("analytics"), Q("id")] NotImplemented Delete REPORTS;
    ListBucketIntelligentTieringConfigurations Get Bucket [Q("intelligent-tiering")] NotImplemented List LIFECYCLE;
    GetBucketIntelligentTieringConfiguration Get Bucket [Q("intelligent-tiering"), Q("id")] NotImplemented Read LIFECYCLE;
    PutBucketIntelligentTieringConfiguration Put Bucket [Q("intelligent-tiering"), Q("id")] NotImplemented Write LIFECYCLE;
    DeleteBucketIntelligentTieringConfiguration Delete Bucket [Q("intelligent-tiering"), Q("id")] NotImplemented Delete LIFECYCLE;
    GetBucketMetadataConfiguration Get Bucket [Q("metadataConfiguration")] NotImplemented Read METADATA;
    CreateBucketMetadataConfiguration Post Bucket [Q("metadataConfiguration")] NotImplemented Write METADATA;
    DeleteBucketMetadataConfiguration Delete Bucket [Q("metadataConfiguration")] NotImplemented Delete METADATA;
    GetBucketMetadataTableConfiguration Get Bucket [Q("metadataTable")] NotImplemented Read METADATA;
    CreateBucketMetadataTableConfiguration Post Bucket [Q("metadataTable")] NotImplemented Write METADATA;
    DeleteBucketMetadataTableConfiguration Delete Bucket [Q("metadataTable")] NotImplemented Delete METADATA;
    UpdateBucketMetadataInventoryTableConfiguration Put Bucket [Q("metadataInventoryTable")] NotImplemented Write METADATA;
    UpdateBucketMetadataJournalTableConfiguration Put Bucket [Q("metadataJournalTable")] NotImplemented Write METADATA;

    // Settings of buckets.
    GetBucketAccelerateConfiguration Get Bucket [Q("accelerate")] Bucket Read NEVER_SET;
    PutBucketAccelerateConfiguration Put Bucket [Q("accelerate")] NotImplemented Write SETTINGS;
    GetBucketCors Get Bucket [Q("cors")] Bucket Read "Kept by the gateway, which carries it out itself";
    PutBucketCors Put Bucket [Q("cors")] Bucket Write "Kept by the gateway, which carries it out itself";
    DeleteBucketCors Delete Bucket [Q("cors")] Bucket Delete "Kept by the gateway, which carries it out itself";
    GetBucketEncryption Get Bucket [Q("encryption")] Bucket Read HOME;
    PutBucketEncryption Put Bucket [Q("encryption")] Bucket Write ALIKE;
    DeleteBucketEncryption Delete Bucket [Q("encryption")] Bucket Delete ALIKE;
    ListBucketMetricsConfigurations Get Bucket [Q("metrics")] NotImplemented List SETTINGS;
    GetBucketMetricsConfiguration Get Bucket [Q("metrics"), Q("id")] NotImplemented Read SETTINGS;
    PutBucketMetricsConfiguration Put Bucket [Q("metrics"), Q("id")] NotImplemented Write SETTINGS;
    DeleteBucketMetricsConfiguration Delete Bucket [Q("metrics"), Q("id")] NotImplemented Delete SETTINGS;
    GetBucketRequestPayment Get Bucket [Q("requestPayment")] Bucket Read NEVER_SET;
    PutBucketRequestPayment Put Bucket [Q("requestPayment")] NotImplemented Write SETTINGS;
    GetBucketTagging Get Bucket [Q("tagging")] Bucket Read "Kept by the gateway; tags of buckets are no labels";
    PutBucketTagging Put Bucket [Q("tagging")] Bucket Write "Kept by the gateway; tags of buckets are no labels";
    DeleteBucketTagging Delete Bucket [Q("tagging")] Bucket Delete "Kept by the gateway; tags of buckets are no labels";
    GetBucketWebsite Get Bucket [Q("website")] Bucket Read NEVER_SET;
    PutBucketWebsite Put Bucket [Q("website")] NotImplemented Write SETTINGS;
    DeleteBucketWebsite Delete Bucket [Q("website")] Bucket Delete NEVER_SET;
    CreateSession Get Bucket [Q("session")] NotImplemented Read EXPRESS;

    // The rest of what objects can do.
    RenameObject Put Object [Q("renameObject")] NotImplemented Write EXPRESS;
    RestoreObject Post Object [Q("restore")] Single Write "Only for a while and in place: `SELECT` and `OutputLocation` are refused";
    SelectObjectContent Post Object [Q("select"), V("select-type", "2")] NotImplemented Read "Queries inside objects are not the gateway's business";
    GetObjectTorrent Get Object [Q("torrent")] NotImplemented Read "It would hand out data past the policies";
    UpdateObjectEncryption Put Object [Q("encryption")] NotImplemented Write "It would change an object behind the catalogue's back";
    PreflightBucket Options Bucket [] Bucket Read "Answered without a signature, by the bucket's cross-origin rules alone";
    PreflightObject Options Object [] Bucket Read "Answered without a signature, by the bucket's cross-origin rules alone";
}
