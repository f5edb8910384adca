//! Uploads by HTML form (S3 API reference, "POST Object"): the form's fields, and what its policy says of them.
//!
//! Sans I/O: bytes in, fields and data out. A form is signed by its policy, and the policy names every field; so a field that
//! passed is as good as a signed header. Not for reading sockets and not for storing: see `gateway::form` and `placement::post`.

mod multipart;
mod policy;

pub use multipart::{FileScan, FormParser, Progress, boundary};
pub use policy::{LengthRange, Policy};

use super::error::{Code, S3Error};

/// The fields of a form, in their order; names in lower case.
#[derive(Default)]
pub struct Fields {
    fields: Vec<(String, String)>,
    /// As the file's part names it.
    filename: Option<String>,
}

impl std::fmt::Debug for Fields {
    /// Keys, metadata and names of files are personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<form of {} fields>", self.fields.len())
    }
}

impl Fields {
    pub fn add(&mut self, name: &str, value: String) -> Result<(), FormError> {
        let name = name.to_ascii_lowercase();
        // Two values could be read as the first by one and as the last by another.
        if self.get(&name).is_some() {
            return Err(FormError::Repeated);
        }
        self.fields.push((name, value));
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The part of the file has begun: what browsers call `${filename}` is known.
    pub fn set_filename(&mut self, name: Option<String>) {
        // Browsers on some systems send the whole path.
        let name = name.map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
        if let Some((_, key)) = self.fields.iter_mut().find(|(known, _)| known == "key") {
            *key = key.replace("${filename}", name.as_deref().unwrap_or_default());
        }
        self.filename = name;
    }
}

/// Why a form is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("the body is not a multipart/form-data form with a boundary of 1 to 70 characters")]
    NotAForm,
    #[error("a part of the form has no Content-Disposition with a name, or is not text")]
    Part,
    #[error("a field comes twice")]
    Repeated,
    #[error("the fields before the file are longer than {limit} bytes, or more than {count}")]
    TooLong { limit: usize, count: usize },
    #[error("the form must have one file, in a field named `file`, behind all other fields")]
    NoFile,
    #[error(
        "the form ends otherwise than expected: a file of more than {limit} bytes must be its last field, and the closing \
         boundary must end in a line break"
    )]
    Ending { limit: usize },
    #[error("the form must have a field named `{0}`")]
    Missing(&'static str),
    #[error("the policy document cannot be read: {0}")]
    PolicyDocument(&'static str),
    #[error("Invalid according to Policy: Policy expired.")]
    Expired,
    #[error("Invalid according to Policy: Policy Condition failed: {0}")]
    Condition(String),
    #[error("Invalid according to Policy: Extra input fields: {0}")]
    NotInPolicy(String),
    #[error("the file has {length} bytes; the policy wants at least {min}")]
    TooSmall { length: u64, min: u64 },
    #[error("the file has {length} bytes; the policy takes at most {max}")]
    TooLarge { length: u64, max: u64 },
}

impl From<FormError> for S3Error {
    fn from(error: FormError) -> Self {
        let code = match error {
            FormError::NotAForm | FormError::Part | FormError::NoFile | FormError::Ending { .. } => {
                Code::MalformedPOSTRequest
            }
            FormError::TooLong { .. } => Code::MaxPostPreDataLengthExceeded,
            FormError::Missing(_) | FormError::Repeated => Code::InvalidArgument,
            FormError::PolicyDocument(_) => Code::InvalidPolicyDocument,
            FormError::Expired | FormError::Condition(_) | FormError::NotInPolicy(_) => Code::AccessDenied,
            FormError::TooSmall { .. } => Code::EntityTooSmall,
            FormError::TooLarge { .. } => Code::EntityTooLarge,
        };
        S3Error::new(code, error.to_string())
    }
}
