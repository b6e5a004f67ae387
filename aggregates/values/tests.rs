//! Values are read strictly and kept verbatim.
