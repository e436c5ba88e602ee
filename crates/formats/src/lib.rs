//! Models of other tools, in and out: Hugging Face directories, GGUF files of llama.cpp, checkpoints of llama2.c.
//!
//! What comes in is the same function or is refused by naming the field that does not fit; what goes out likewise. The
//! table of which tensor holds which parameter is in `layout`, read in both directions; which architecture says what a
//! config says is in `form`.

mod data_type;
mod error;
mod export;
mod form;
mod gguf;
mod hugging_face;
mod layout;
mod llama2c;
mod open;
mod safetensors_file;
mod tensors;
mod weights;

pub use data_type::DataType;
pub use error::{FormatError, Misfit};
pub use export::{ExportFormat, ExportOptions, Exportable, ExportedFiles, check, export};
pub use form::{Architecture, Gelu};
pub use hugging_face::load_gpt;
pub use open::{
    Opened, Source, StoredWeights, is_export, is_foreign, open, open_shortened, open_tokenizer, source, stored_weights,
};
pub use weights::CACHE_SIZES;
