# Random-effects models of metafor, which are mixed models whose residual variances are known: yi with variances vi.
# Usage: Rscript meta_analysis.R OUT
suppressMessages({library(metafor); library(jsonlite)})
out <- commandArgs(trailingOnly = TRUE)[1]
dat <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
case <- function(method, mods) {
  m <- rma(yi, vi, mods = mods, data = dat, method = method, control = list(threshold = 1e-14, maxiter = 10000))
  list(method = method, loglik = as.numeric(m$fit.stats["ll", method]), tau2 = m$tau2, se_tau2 = m$se.tau2,
       fixef = as.numeric(m$beta), se = m$se)
}
record <- list(
  version = as.character(packageVersion("metafor")),
  studies = list(yi = as.numeric(dat$yi), vi = as.numeric(dat$vi), ablat = dat$ablat),
  intercept = lapply(c("REML", "ML"), function(k) case(k, ~ 1)),
  ablat = lapply(c("REML", "ML"), function(k) case(k, ~ ablat)))
writeLines(toJSON(record, digits = NA, auto_unbox = TRUE, pretty = TRUE), file.path(out, "meta_analysis.json"))
