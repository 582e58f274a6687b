# What a fit of lme4 holds beside its estimates: residuals, fitted values, modes and their conditional SDs, profiles.
# From tests/reference: Rscript scripts/33_glmm_results.R
suppressMessages({library(lme4); library(jsonlite)})
d <- read.csv("data/cbpp.csv")
d$period <- factor(d$period); d$herd <- factor(d$herd)
f <- glmer(cbind(incidence, failure) ~ period + (1 | herd), d, family = binomial,
           control = glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5)))
modes <- ranef(f, condVar = TRUE)$herd
limits <- suppressMessages(confint(f, quiet = TRUE))
out <- list(
  engine = "glmer", version = as.character(packageVersion("lme4")), dataset = "cbpp.csv",
  fitted = unname(fitted(f)), link = unname(predict(f)), population = unname(predict(f, re.form = NA, type = "response")),
  response = unname(residuals(f, "response")), pearson = unname(residuals(f, "pearson")),
  deviance = unname(residuals(f, "deviance")),
  herds = rownames(modes), modes = modes[[1]], mode_sds = sqrt(as.vector(attr(modes, "postVar"))),
  profile = lapply(rownames(limits), function(name) list(name = unbox(name), limits = unname(limits[name, ])))
)
dir.create("generalized_results", showWarnings = FALSE)
write_json(out, "generalized_results/cbpp.json", digits = 10, auto_unbox = FALSE, pretty = FALSE)
