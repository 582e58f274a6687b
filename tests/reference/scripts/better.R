# Where lme4 with its defaults stops short of the optimum. Usage: Rscript tests/reference/scripts/better.R   (from the root)
# Writes tests/reference/data/Spruce.csv and tests/reference/better.json: the log-likelihood, theta and messages of lmer.
suppressPackageStartupMessages(library(lme4))
root <- "tests/reference"
spruce <- as.data.frame(nlme::Spruce)
write.csv(spruce, file.path(root, "data", "Spruce.csv"), row.names = FALSE)
formula <- logSize ~ days + plot + (days | Tree)
fit <- suppressWarnings(lmer(formula, spruce))
jsonlite::write_json(list(
  data = "Spruce.csv", source = "nlme::Spruce", formula = deparse(formula), lme4 = as.character(packageVersion("lme4")),
  logLik = as.numeric(logLik(fit)), theta = unname(getME(fit, "theta")),
  messages = unlist(fit@optinfo$conv$lme4$messages)
), file.path(root, "better.json"), digits = NA, auto_unbox = TRUE, pretty = TRUE)
