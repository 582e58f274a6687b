# Restricted likelihoods of generalized models by glmmTMB, at optima that its optimizer cannot improve.
# Run in tests/reference: Rscript scripts/34_glmm_restricted.R; writes generalized_restricted.json.
suppressMessages({library(glmmTMB); library(jsonlite)})
control <- glmmTMBControl(optimizer = nlminb,
                          optCtrl = list(rel.tol = 1e-15, x.tol = 1e-12, iter.max = 3000, eval.max = 3000))
models <- list(
  cbpp = list(formula = "cbind(incidence, failure) ~ period + (1 | herd)", family = "binomial", file = "cbpp",
              factors = c("herd", "period")),
  salamanders = list(formula = "count ~ mined + (1 | site)", family = "nbinom2", file = "Salamanders",
                     factors = c("site", "mined")),
  grouseticks = list(formula = "TICKS ~ YEAR + (1 | BROOD) + (1 | LOCATION)", family = "nbinom2", file = "grouseticks",
                     factors = c("YEAR", "BROOD", "LOCATION")))
out <- list(glmmTMB = as.character(packageVersion("glmmTMB")), models = lapply(models, function(m) {
  d <- read.csv(file.path("data", paste0(m$file, ".csv")))
  for (name in m$factors) d[[name]] <- factor(d[[name]])
  fit <- suppressWarnings(glmmTMB(as.formula(m$formula), d, family = get(m$family), REML = TRUE, control = control))
  coefficients <- summary(fit)$coefficients$cond
  c(m[c("formula", "family", "file", "factors")],
    list(logLik = as.numeric(logLik(fit)), fixef = unname(coefficients[, 1]), se = unname(coefficients[, 2]),
         sd = unname(exp(fit$fit$par[names(fit$fit$par) == "theta"])), sigma = sigma(fit),
         gradient = max(abs(fit$obj$gr(fit$fit$par)))))
}))
write(toJSON(out, auto_unbox = TRUE, digits = NA, pretty = TRUE), "generalized_restricted.json")
