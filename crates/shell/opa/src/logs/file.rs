//! A file of lines that is set aside when it has grown: `decisions.log`, `decisions.log.1`, …

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

/// Bytes after which a file is set aside.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files kept beside the one that is written.
const FILES_MAX: u32 = 4;

/// The file and its elders.
#[derive(Debug)]
pub(super) struct Rotated {
    dir: PathBuf,
    open: Option<(File, u64)>,
    /// Whether the last write failed: that is told once, not for every line.
    failing: bool,
}

impl Rotated {
    pub(super) fn new(dir: PathBuf) -> Rotated {
        Rotated { dir, open: None, failing: false }
    }

    /// Appends a line.
    pub(super) fn append(&mut self, line: &str) {
        match self.try_append(line) {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    tracing::error!(dir = %self.dir.display(), %error, "writing the decision log");
                }
                (self.failing, self.open) = (true, None);
            }
        }
    }

    fn try_append(&mut self, line: &str) -> io::Result<()> {
        let (mut file, bytes) = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        // One write for a line: a crash leaves whole lines.
        file.write_all(format!("{line}\n").as_bytes())?;
        let bytes = bytes + line.len() as u64 + 1;
        if bytes >= FILE_BYTES_MAX {
            drop(file);
            return self.set_aside();
        }
        self.open = Some((file, bytes));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(0))?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    fn set_aside(&self) -> io::Result<()> {
        for age in (0..FILES_MAX).rev() {
            match fs::rename(self.path(age), self.path(age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, age: u32) -> PathBuf {
        let name = if age == 0 { "decisions.log".to_owned() } else { format!("decisions.log.{age}") };
        self.dir.join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_grown_is_set_aside_and_the_eldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut rotated = Rotated::new(dir.path().join("log"));
        let long = "x".repeat(1 << 20);
        for _ in 0..16 * (usize::try_from(FILES_MAX).unwrap() + 2) {
            rotated.append(&long);
        }
        rotated.append("last");
        assert_eq!(fs::read_to_string(rotated.path(0)).unwrap(), "last\n");
        let kept: Vec<bool> = (0..FILES_MAX + 2).map(|age| rotated.path(age).exists()).collect();
        assert_eq!(kept, [true, true, true, true, true, false]);
    }
}
