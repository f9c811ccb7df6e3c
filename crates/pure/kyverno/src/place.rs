//! Where in a value something stands; written out only where that is told. Entry points: [`Place::at`],
//! [`Place::as_pointer`].

use std::fmt;

/// A place on the way down into a value.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'p> {
    around: Option<&'p Place<'p>>,
    step: Step<'p>,
}

/// A step down.
#[derive(Clone, Copy, Default)]
pub(crate) enum Step<'p> {
    /// None: the whole value.
    #[default]
    Whole,
    Field(&'p str),
    Item(usize),
}

impl Place<'_> {
    /// The place a step further down.
    pub(crate) fn at<'p>(&'p self, step: Step<'p>) -> Place<'p> {
        Place { around: Some(self), step }
    }

    /// `/spec/containers/0`; slashes in names stand behind a backslash.
    pub(crate) fn as_pointer(&self) -> String {
        let mut text = String::new();
        self.each(&mut |part| {
            text.push('/');
            text.push_str(&part.replace('/', "\\/"));
        });
        text
    }

    /// All parts from the top.
    fn each(&self, tell: &mut dyn FnMut(&str)) {
        if let Some(around) = self.around {
            around.each(tell);
        }
        match self.step {
            Step::Whole => {}
            Step::Field(name) => tell(name),
            Step::Item(at) => tell(&at.to_string()),
        }
    }
}

/// `/spec/containers/0/image/`, as messages about patterns have it.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = "/".to_owned();
        self.each(&mut |part| {
            text.push_str(part);
            text.push('/');
        });
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_as_paths_and_as_pointers() {
        let whole = Place::default();
        assert_eq!((whole.to_string().as_str(), whole.as_pointer().as_str()), ("/", ""));
        let labels = whole.at(Step::Field("labels"));
        let first = labels.at(Step::Field("a/b"));
        let item = first.at(Step::Item(3));
        assert_eq!(item.to_string(), "/labels/a/b/3/");
        assert_eq!(item.as_pointer(), "/labels/a\\/b/3");
    }
}
