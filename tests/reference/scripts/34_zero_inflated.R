# Zero-inflated, hurdle and truncated models by glmmTMB at a tight optimum.
# usage: Rscript 34_zero_inflated.R DATA OUT.json    (DATA: the folder with Salamanders.csv and sim.csv)
suppressPackageStartupMessages({library(glmmTMB); library(jsonlite)})
a <- commandArgs(TRUE); DATA <- a[1]; OUT <- a[2]
ctl <- glmmTMBControl(optCtrl = list(iter.max = 2000, eval.max = 4000, rel.tol = 1e-13, x.tol = 1e-11))
salamanders <- read.csv(file.path(DATA, "Salamanders.csv"), stringsAsFactors = TRUE)
salamanders$mined <- factor(salamanders$mined, c("yes", "no"))
seen <- salamanders[salamanders$count > 0, ]
sim <- read.csv(file.path(DATA, "sim.csv"), stringsAsFactors = TRUE); sim$g <- factor(sim$g)
polish <- function(f) { # Newton steps on TMB's own marginal objective, exact gradient
  o <- f$obj; p <- f$fit$par
  for (i in 1:10) { g <- as.vector(o$gr(p)); if (max(abs(g)) < 1e-9) break
    H <- optimHess(p, o$fn, o$gr); s <- tryCatch(solve(H, g), error = function(e) NULL); if (is.null(s)) break
    q <- p - s; if (!is.finite(o$fn(q)) || o$fn(q) > o$fn(p) + 1e-9) break; p <- q }
  list(par = p, value = o$fn(p), grad = max(abs(o$gr(p)))) }
records <- list()
one <- function(id, dataset, data, formula, family, zi) {
  f <- glmmTMB(formula, data, family = family, ziformula = zi, control = ctl)
  p <- polish(f); V <- TMB::sdreport(f$obj, par.fixed = p$par)$cov.fixed
  of <- function(name) unname(p$par[names(p$par) == name]); se <- function(name) unname(sqrt(diag(V)[names(p$par) == name]))
  records[[id]] <<- list(dataset = dataset, formula = deparse1(formula), family = family$family, ziformula = deparse1(zi), n = nobs(f),
    version = as.character(packageVersion("glmmTMB")), logLik = -p$value, gradient_max = p$grad, fixef_names = I(names(fixef(f)$cond)), fixef = I(of("beta")), se = I(se("beta")),
    zi_names = I(as.character(names(fixef(f)$zi))), zi = I(of("betazi")), zi_se = I(se("betazi")), theta = I(of("theta")), dispersion = I(exp(c(of("betad"), of("betadisp")))))
  cat(id, format(-p$value, digits = 12), "gradient", p$grad, "\n") }
one("poisson", "Salamanders", salamanders, count ~ mined + (1 | site), poisson(), ~mined)
one("nbinom2", "Salamanders", salamanders, count ~ mined + (1 | site), nbinom2(), ~mined)
one("nbinom2_constant", "Salamanders", salamanders, count ~ mined + (1 | site), nbinom2(), ~1)
one("hurdle_poisson", "Salamanders", salamanders, count ~ mined + (1 | site), truncated_poisson(), ~mined)
one("hurdle_nbinom2", "Salamanders", salamanders, count ~ mined + (1 | site), truncated_nbinom2(), ~mined)
one("truncated_poisson", "Salamanders, positive", seen, count ~ mined + (1 | site), truncated_poisson(), ~0)
one("truncated_nbinom2", "Salamanders, positive", seen, count ~ mined + (1 | site), truncated_nbinom2(), ~0)
one("hurdle_gamma", "sim", sim, tw ~ x + w + (1 | g), ziGamma(link = "log"), ~x)
write(toJSON(records, digits = NA, auto_unbox = TRUE, pretty = TRUE), OUT)
