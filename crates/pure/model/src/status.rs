//! Errors as API clients see them: [`ApiError`] becomes a `metav1.Status`.
//!
//! Messages, reasons and codes are those of Kubernetes, since clients match on them.

use serde_json::{Map, Value, json};

use crate::kinds::Kind;

/// An answer other than success.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason.
    pub reason: Reason,
    /// What a person reads.
    pub message: String,
    /// What it is about.
    pub details: Box<Details>,
}

/// What a status is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// Group of the resource or kind.
    pub group: String,
    /// Plural resource or kind, whichever Kubernetes reports for this error.
    pub kind: String,
    /// Uid of the object.
    pub uid: String,
    /// Field errors and the like.
    pub causes: Vec<Cause>,
    /// Seconds after which to try again; also the `Retry-After` header.
    pub retry_after_seconds: Option<u32>,
    /// Token with which a list that expired may go on, inconsistently.
    pub continue_token: String,
}

/// `metav1.StatusReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documented constants of metav1")]
pub enum Reason {
    AlreadyExists,
    BadRequest,
    Conflict,
    Expired,
    Forbidden,
    Gone,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Timeout,
    TooManyRequests,
    Unauthorized,
    /// Shown as no reason at all.
    Unknown,
    UnsupportedMediaType,
}

/// One entry of `details.causes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Kind of problem.
    pub reason: CauseReason,
    /// What a person reads, without the field.
    pub message: String,
    /// Field path such as `spec.containers[0].name`.
    pub field: String,
}

/// `metav1.CauseType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the documented constants of metav1 and field.ErrorType")]
pub enum CauseReason {
    FieldValueNotFound,
    FieldValueRequired,
    FieldValueDuplicate,
    FieldValueInvalid,
    FieldValueNotSupported,
    FieldValueForbidden,
    FieldValueTooLong,
    FieldValueTooMany,
    FieldValueTypeInvalid,
    InternalError,
    FieldManagerConflict,
    UnexpectedServerResponse,
    ResourceVersionTooLarge,
    DisruptionBudget,
    NamespaceTerminating,
    /// Shown as no reason at all.
    Unspecified,
}

impl ApiError {
    /// An error about no object in particular.
    pub fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Box::default() }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details.name = name.into();
        self.details.group = kind.group.clone();
        self.details.kind = kind.plural.clone();
        self
    }

    /// 404: no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.group_resource());
        Self::new(404, Reason::NotFound, message).about(kind, name)
    }

    /// 404: no such URL.
    pub fn no_such_path() -> Self {
        Self::new(404, Reason::NotFound, "the server could not find the requested resource")
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.group_resource());
        Self::new(409, Reason::AlreadyExists, message).about(kind, name)
    }

    /// 409: the write rests on an old state, for a reason given in full sentence.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", kind.group_resource());
        Self::new(409, Reason::Conflict, message).about(kind, name)
    }

    /// 409: the object changed since it was read.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 422: fields are wrong.
    pub fn invalid(kind: &Kind, name: &str, causes: Vec<Cause>) -> Self {
        let message = format!("{} {name:?} is invalid: {}", kind.group_kind(), Cause::listed(&causes));
        let mut error = Self::new(422, Reason::Invalid, message).about(kind, name);
        error.details.kind = kind.kind.clone();
        error.details.causes = causes;
        error
    }

    /// 422: options in the query are wrong; `options` is their kind, such as `ListOptions`.
    pub fn invalid_options(options: &str, causes: Vec<Cause>) -> Self {
        let message = format!("{options}.meta.k8s.io \"\" is invalid: {}", Cause::listed(&causes));
        let mut error = Self::new(422, Reason::Invalid, message);
        error.details.group = "meta.k8s.io".into();
        error.details.kind = options.into();
        error.details.causes = causes;
        error
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, Reason::BadRequest, message)
    }

    /// 403: not allowed, for a reason.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let resource = kind.group_resource();
        let message = match name {
            "" => format!("{resource} is forbidden: {why}"),
            _ => format!("{resource} {name:?} is forbidden: {why}"),
        };
        Self::new(403, Reason::Forbidden, message).about(kind, name)
    }

    /// 401: who are you?
    pub fn unauthorized() -> Self {
        Self::new(401, Reason::Unauthorized, "Unauthorized")
    }

    /// 410: the resource version of a watch or list has been compacted.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Expired, message)
    }

    /// 410: gone, as a watch that starts too far back reports.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Gone, message)
    }

    /// 405: the resource does not allow the verb.
    pub fn method_not_supported(kind: &Kind, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", kind.group_resource());
        Self::new(405, Reason::MethodNotAllowed, message).about(kind, "")
    }

    /// 406: none of the accepted media types can be produced.
    pub fn not_acceptable(supported: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", supported.join(", "));
        Self::new(406, Reason::NotAcceptable, message)
    }

    /// 415: the body is in a media type the server does not read.
    pub fn unsupported_media_type(supported: &[&str]) -> Self {
        let list = supported.join(", ");
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {list}");
        Self::new(415, Reason::UnsupportedMediaType, message)
    }

    /// 413: the body is larger than the limit in bytes.
    pub fn too_large(limit_bytes: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit_bytes}");
        Self::new(413, Reason::RequestEntityTooLarge, message)
    }

    /// 429: come back in that many seconds.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut error = Self::new(429, Reason::TooManyRequests, message);
        error.details.retry_after_seconds = Some(retry_after_seconds);
        error
    }

    /// 503: not now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, Reason::ServiceUnavailable, message)
    }

    /// 500: our fault.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let mut error = Self::new(500, Reason::InternalError, format!("Internal error occurred: {message}"));
        error.details.causes =
            vec![Cause { reason: CauseReason::InternalError, message: message.to_string(), field: String::new() }];
        error
    }

    /// 504: the server did not get it done in time; try again in a second or more.
    pub fn timeout(message: impl std::fmt::Display, retry_after_seconds: u32) -> Self {
        let mut error = Self::new(504, Reason::Timeout, format!("Timeout: {message}"));
        error.details.retry_after_seconds = Some(retry_after_seconds);
        error
    }

    /// The `metav1.Status` a client receives.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason.as_str(),
        });
        if !self.details.continue_token.is_empty() {
            status["metadata"]["continue"] = self.details.continue_token.as_str().into();
        }
        if self.reason == Reason::Unknown
            && let Some(status) = status.as_object_mut()
        {
            status.remove("reason");
        }
        let details = self.details.to_value();
        if details.as_object().is_some_and(|it| !it.is_empty()) {
            status["details"] = details;
        }
        status["code"] = self.code.into();
        status
    }
}

/// The `metav1.Status` that answers a finished delete.
pub fn success(kind: &Kind, name: &str, uid: &str) -> Value {
    let details = Details {
        name: name.into(),
        group: kind.group.clone(),
        kind: kind.plural.clone(),
        uid: uid.into(),
        ..Details::default()
    };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.to_value()})
}

impl Details {
    fn to_value(&self) -> Value {
        let texts = [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)];
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        let mut map: Map<String, Value> = texts.map(|(key, text)| (key.into(), text.as_str().into())).collect();
        if !self.causes.is_empty() {
            map.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if let Some(seconds) = self.retry_after_seconds {
            map.insert("retryAfterSeconds".into(), seconds.into());
        }
        Value::Object(map)
    }
}

impl Reason {
    /// The constant of `metav1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "AlreadyExists",
            Self::BadRequest => "BadRequest",
            Self::Conflict => "Conflict",
            Self::Expired => "Expired",
            Self::Forbidden => "Forbidden",
            Self::Gone => "Gone",
            Self::InternalError => "InternalError",
            Self::Invalid => "Invalid",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::NotFound => "NotFound",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
            Self::TooManyRequests => "TooManyRequests",
            Self::Unauthorized => "Unauthorized",
            Self::Unknown => "",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
        }
    }
}

impl Reason {
    /// The reason of that name, if it is one that this server gives.
    pub fn parse(name: &str) -> Option<Reason> {
        const ALL: [Reason; 17] = [
            Reason::AlreadyExists,
            Reason::BadRequest,
            Reason::Conflict,
            Reason::Expired,
            Reason::Forbidden,
            Reason::Gone,
            Reason::InternalError,
            Reason::Invalid,
            Reason::MethodNotAllowed,
            Reason::NotAcceptable,
            Reason::NotFound,
            Reason::RequestEntityTooLarge,
            Reason::ServiceUnavailable,
            Reason::Timeout,
            Reason::TooManyRequests,
            Reason::Unauthorized,
            Reason::UnsupportedMediaType,
        ];
        ALL.into_iter().find(|it| it.as_str() == name)
    }
}

impl CauseReason {
    /// The constant of `metav1`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FieldValueNotFound => "FieldValueNotFound",
            Self::FieldValueRequired => "FieldValueRequired",
            Self::FieldValueDuplicate => "FieldValueDuplicate",
            Self::FieldValueInvalid => "FieldValueInvalid",
            Self::FieldValueNotSupported => "FieldValueNotSupported",
            Self::FieldValueForbidden => "FieldValueForbidden",
            Self::FieldValueTooLong => "FieldValueTooLong",
            Self::FieldValueTooMany => "FieldValueTooMany",
            Self::FieldValueTypeInvalid => "FieldValueTypeInvalid",
            Self::InternalError => "InternalError",
            Self::FieldManagerConflict => "FieldManagerConflict",
            Self::UnexpectedServerResponse => "UnexpectedServerResponse",
            Self::ResourceVersionTooLarge => "ResourceVersionTooLarge",
            Self::DisruptionBudget => "DisruptionBudget",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::Unspecified => "",
        }
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl Cause {
    /// All causes in one text.
    fn listed(causes: &[Cause]) -> String {
        let all: Vec<String> = causes.iter().map(Cause::to_string).collect();
        if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) }
    }

    /// A required field is absent; `why` may be empty.
    pub fn required(field: impl Into<String>, why: &str) -> Self {
        Self::build(CauseReason::FieldValueRequired, field, "Required value", why)
    }

    /// A value is wrong.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::build(CauseReason::FieldValueInvalid, field, &format!("Invalid value: {}", shown(value)), why)
    }

    /// A value has the wrong type.
    pub fn type_invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::build(CauseReason::FieldValueTypeInvalid, field, &format!("Invalid value: {}", shown(value)), why)
    }

    /// A value appears twice.
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::build(CauseReason::FieldValueDuplicate, field, &format!("Duplicate value: {}", shown(value)), "")
    }

    /// A value is outside its list of values.
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let mut supported: Vec<String> = supported.iter().map(|it| format!("{it:?}")).collect();
        supported.sort();
        let what = format!("Unsupported value: {}", shown(value));
        Self::build(
            CauseReason::FieldValueNotSupported,
            field,
            &what,
            &format!("supported values: {}", supported.join(", ")),
        )
    }

    /// A field may not be set or changed so.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::build(CauseReason::FieldValueForbidden, field, "Forbidden", why)
    }

    /// A named thing does not exist.
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::build(CauseReason::FieldValueNotFound, field, &format!("Not found: {}", shown(value)), "")
    }

    /// A text is longer than the limit in bytes.
    pub fn too_long(field: impl Into<String>, limit_bytes: usize) -> Self {
        let why = format!("may not be more than {limit_bytes} bytes");
        Self::build(CauseReason::FieldValueTooLong, field, "Too long", &why)
    }

    /// A list has more items than the limit.
    pub fn too_many(field: impl Into<String>, count: usize, limit: usize) -> Self {
        let why = format!("must have at most {limit} {}", if limit == 1 { "item" } else { "items" });
        Self::build(CauseReason::FieldValueTooMany, field, &format!("Too many: {count}"), &why)
    }

    fn build(reason: CauseReason, field: impl Into<String>, what: &str, why: &str) -> Self {
        let message = if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") };
        Self { reason, message, field: field.into() }
    }

    fn to_value(&self) -> Value {
        let mut cause = json!({"message": self.message});
        if self.reason != CauseReason::Unspecified {
            cause["reason"] = self.reason.as_str().into();
        }
        if !self.field.is_empty() {
            cause["field"] = self.field.as_str().into();
        }
        cause
    }
}

/// A value inside a message. Kubernetes prints strings quoted, numbers and booleans bare, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::kinds::builtin;

    fn check(error: ApiError, expected: Expect) {
        expected.assert_eq(&error.to_value().to_string());
    }

    #[test]
    fn errors_read_as_kubernetes_writes_them() {
        let kind = builtin().by_plural("apps", "v1", "deployments").expect("known");
        check(
            ApiError::not_found(kind, "x"),
            expect![[
                r#"{"apiVersion":"v1","code":404,"details":{"group":"apps","kind":"deployments","name":"x"},"kind":"Status","message":"deployments.apps \"x\" not found","metadata":{},"reason":"NotFound","status":"Failure"}"#
            ]],
        );
        check(
            ApiError::modified(kind, "x"),
            expect![[
                r#"{"apiVersion":"v1","code":409,"details":{"group":"apps","kind":"deployments","name":"x"},"kind":"Status","message":"Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please apply your changes to the latest version and try again","metadata":{},"reason":"Conflict","status":"Failure"}"#
            ]],
        );
        let cause = Cause::invalid("spec.replicas", &json!(-1), "must be greater than or equal to 0");
        check(
            ApiError::invalid(kind, "x", vec![cause]),
            expect![[
                r#"{"apiVersion":"v1","code":422,"details":{"causes":[{"field":"spec.replicas","message":"Invalid value: -1: must be greater than or equal to 0","reason":"FieldValueInvalid"}],"group":"apps","kind":"Deployment","name":"x"},"kind":"Status","message":"Deployment.apps \"x\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0","metadata":{},"reason":"Invalid","status":"Failure"}"#
            ]],
        );
        check(
            ApiError::too_many_requests("slow down", 1),
            expect![[
                r#"{"apiVersion":"v1","code":429,"details":{"retryAfterSeconds":1},"kind":"Status","message":"slow down","metadata":{},"reason":"TooManyRequests","status":"Failure"}"#
            ]],
        );
    }

    #[test]
    fn supported_values_are_listed_in_order() {
        let cause = Cause::not_supported("spec.type", &json!("Bad"), &["NodePort", "ClusterIP"]);
        assert_eq!(
            cause.to_string(),
            r#"spec.type: Unsupported value: "Bad": supported values: "ClusterIP", "NodePort""#
        );
    }
}
