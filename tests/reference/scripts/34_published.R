# Data of generalized models whose optima are published: Contraception (mlmRev) and VerbAgg (lme4), the columns of the models.
# From tests/reference: Rscript scripts/34_published.R
suppressMessages({library(lme4); library(mlmRev); library(jsonlite)})
export <- function(name, d) {
  columns <- lapply(d, function(v) if (is.factor(v)) list(type = "factor", levels = I(levels(v))) else list(type = class(v)[1]))
  file <- gzfile(file.path("data", paste0(name, ".csv.gz")), "w", compression = 9)
  write.csv(d, file, row.names = FALSE, quote = FALSE)
  close(file)
  write(toJSON(list(columns = columns), auto_unbox = TRUE), file.path("data", paste0(name, ".schema.json")))
}
export("Contraception", Contraception[c("use", "age", "urban", "livch", "district")])
export("VerbAgg", VerbAgg[c("r2", "Anger", "Gender", "btype", "situ", "id", "item")])
