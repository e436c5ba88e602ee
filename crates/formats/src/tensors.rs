//! The tensors of one model, wherever they lie: found by name, read one at a time, and each read or told of.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::DataType;
use crate::error::{FormatError, named};

/// Where a tensor lies and how.
#[derive(Debug, Clone)]
pub(crate) struct StoredTensor {
    /// Which of the files.
    pub file: usize,
    /// Of its first byte in the file.
    pub offset: u64,
    pub bytes: usize,
    /// Outermost first.
    pub shape: Vec<usize>,
    /// None for a type that is not read, whose name is in `type_name`.
    pub data_type: Option<DataType>,
    pub type_name: String,
    /// Its name in the file, for messages.
    pub full_name: String,
}

/// All tensors of a model by the name that a layout has for them.
#[derive(Debug, Default)]
pub(crate) struct TensorStore {
    files: Vec<PathBuf>,
    tensors: BTreeMap<String, StoredTensor>,
    taken: BTreeSet<String>,
}

impl TensorStore {
    /// Adds a file and returns its number.
    pub fn add_file(&mut self, path: &Path) -> usize {
        self.files.push(path.to_owned());
        self.files.len() - 1
    }

    /// Adds a tensor of an added file.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] where one of that name is there already.
    pub fn add(&mut self, name: String, tensor: StoredTensor) -> Result<(), FormatError> {
        let path = &self.files[tensor.file];
        let full_name = tensor.full_name.clone();
        match self.tensors.insert(name, tensor) {
            None => Ok(()),
            Some(other) => Err(FormatError::damaged(
                path,
                format!("`{full_name}` and `{}` are the same tensor twice; keep one of them", other.full_name),
            )),
        }
    }

    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn tensors(&self) -> impl Iterator<Item = &StoredTensor> {
        self.tensors.values()
    }

    /// The file that a tensor lies in.
    pub fn path_of(&self, tensor: &StoredTensor) -> &Path {
        &self.files[tensor.file]
    }

    /// Any file, for messages about what is in none.
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new("."), PathBuf::as_path)
    }

    /// Takes note that a tensor has been seen to, so that [`TensorStore::check_all_taken`] does not complain.
    pub fn take(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// Finds a tensor of this shape, and reads nothing of it.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] without it, or with another shape.
    pub fn find(&self, name: &str, shape: &[usize]) -> Result<&StoredTensor, FormatError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(FormatError::damaged(
                self.path(),
                format!("it lacks `{name}`, which the model of its config has; restore it from a copy"),
            ));
        };
        if tensor.shape == shape {
            return Ok(tensor);
        }
        let StoredTensor { full_name, shape: found, .. } = tensor;
        let reason = format!(
            "`{full_name}` has shape {found:?}, but the config asks for {shape:?}; one of them is another model's"
        );
        Err(FormatError::damaged(self.path_of(tensor), reason))
    }

    /// Reads a tensor of this shape.
    ///
    /// # Errors
    /// As [`TensorStore::find`]; [`FormatError::Unsupported`] for a type that is not read; a file that cannot be read.
    pub fn read(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, FormatError> {
        let values = self.read_stored(self.find(name, shape)?)?;
        self.take(name);
        Ok(values)
    }

    /// Reads a tensor whatever its shape, and leaves it untaken.
    pub fn read_stored(&self, tensor: &StoredTensor) -> Result<Vec<f32>, FormatError> {
        let path = self.path_of(tensor);
        let Some(data_type) = tensor.data_type else {
            return Err(FormatError::unsupported(
                path,
                &format!("the type of `{}`", tensor.full_name),
                &tensor.type_name,
                "F32, F16, BF16 and Q8_0 (of GGUF) are read",
            ));
        };
        let failed = |error| FormatError::unreadable(path, error);
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(tensor.offset)).map_err(failed)?;
        let mut bytes = vec![0; tensor.bytes];
        file.read_exact(&mut bytes).map_err(failed)?;
        Ok(data_type.decode(&bytes))
    }

    /// Refuses a model of which something was not read.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] with the names of what was not.
    pub fn check_all_taken(&self) -> Result<(), FormatError> {
        let left = self.tensors.iter().filter(|(name, _)| !self.taken.contains(*name));
        let left: Vec<&StoredTensor> = left.map(|(_, tensor)| tensor).collect();
        let Some(first) = left.first() else { return Ok(()) };
        let names: Vec<&str> = left.iter().map(|tensor| tensor.full_name.as_str()).collect();
        let count = if names.len() == 1 { "a tensor".to_owned() } else { format!("{} tensors", names.len()) };
        Err(FormatError::damaged(
            self.path_of(first),
            format!(
                "it holds {count} that the model of its config does not have: {}; the config is another model's, or the model is of a kind that is not read",
                named(&names)
            ),
        ))
    }
}
