//! The functions that compiled policies leave to their host are those of Rego here.

use eyot_rego::{Value, call_builtin, has_builtin};
use eyot_runtime::OpaBuiltins;

use crate::decider::now_ns;

/// All built-in functions of [`eyot_rego`].
pub(crate) struct Builtins;

impl OpaBuiltins for Builtins {
    fn knows(&self, name: &str) -> bool {
        has_builtin(name)
    }

    fn call(&self, name: &str, arguments: &[&str]) -> Result<Option<String>, String> {
        let values = arguments.iter().map(|it| Value::parse(it));
        let values: Vec<Value> = values.collect::<Option<_>>().ok_or("an argument is no value")?;
        let answer = call_builtin(name, &values, now_ns())?;
        Ok(answer.map(|it| it.to_string()))
    }
}
