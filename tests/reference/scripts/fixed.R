# Fits with parameters that are fixed: nlme with a known residual standard deviation, metafor's random-effects models
# (a known residual variance in every row) and lm-like models with known variances. Usage: Rscript fixed.R OUT
suppressMessages({library(nlme); library(metafor); library(jsonlite)})
out <- commandArgs(trailingOnly = TRUE)[1]
sleep <- lme4::sleepstudy
control <- function(sigma) lmeControl(sigma = sigma, opt = "nlminb", msMaxIter = 1000, msTol = 1e-14, tolerance = 1e-12, niterEM = 0)
lme_case <- function(random, method, sigma) {
  m <- lme(Reaction ~ Days, random, data = sleep, method = method, control = control(sigma))
  V <- matrix(getVarCov(m), ncol = ncol(getVarCov(m)))
  # lme scales nothing when sigma is fixed; its REML constant has log|X'X| (as logLik with REML = TRUE says)
  list(method = method, sigma = sigma, loglik = as.numeric(logLik(m)), fixef = unname(fixef(m)),
       se = unname(sqrt(diag(vcov(m)))), sd = sqrt(diag(V)), corr = cov2cor(V)[lower.tri(V)])
}
dat <- escalc(measure = "RR", ai = tpos, bi = tneg, ci = cpos, di = cneg, data = dat.bcg)
rma_case <- function(method, mods) {
  m <- rma(yi, vi, mods = mods, data = dat, method = method, control = list(threshold = 1e-14, maxiter = 10000, stepadj = 1))
  list(method = method, loglik = as.numeric(m$fit.stats["ll", method]), tau2 = m$tau2, se_tau2 = m$se.tau2,
       fixef = as.numeric(m$beta), se = m$se)
}
record <- list(
  versions = list(nlme = as.character(packageVersion("nlme")), metafor = as.character(packageVersion("metafor"))),
  lme_intercept = lapply(c("REML", "ML"), function(k) lme_case(~ 1 | Subject, k, 30)),
  lme_slope = lapply(c("REML", "ML"), function(k) lme_case(~ Days | Subject, k, 25)),
  studies = list(yi = as.numeric(dat$yi), vi = as.numeric(dat$vi), ablat = dat$ablat),
  rma = lapply(c("REML", "ML"), function(k) rma_case(k, ~ 1)),
  rma_ablat = lapply(c("REML", "ML"), function(k) rma_case(k, ~ ablat)))
writeLines(toJSON(record, digits = NA, auto_unbox = TRUE, pretty = TRUE), file.path(out, "fixed.json"))
