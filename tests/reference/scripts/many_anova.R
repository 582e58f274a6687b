# lmerTest's F tests of four responses on one design. Usage: Rscript many_anova.R TABLE.csv > ../many_anova.json
# TABLE.csv: what tests/results/test_many_tables.py calls anova_data(), written with anova_data().to_csv("TABLE.csv", index=False).
suppressPackageStartupMessages(library(lmerTest))
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e6),
  check.conv.singular = "ignore", calc.derivs = FALSE)
data <- read.csv(commandArgs(TRUE)[1], stringsAsFactors = TRUE)
one <- function(response) {
  data$response <- data[[response]]
  fit <- lmer(response ~ k + x + (1 | g), data, control = tight)
  table <- anova(fit, type = 3, ddf = "Satterthwaite")
  p <- length(fixef(fit))
  contrast <- rep(0, p); contrast[2] <- 1; contrast[3] <- -1
  pair <- contest(fit, contrast, joint = TRUE)
  list(term = I(rownames(table)), num_df = table$NumDF, den_df = table$DenDF, statistic = table$`F value`,
    p_value = table$`Pr(>F)`, singular = isSingular(fit, tol = 1e-5), pair = as.list(pair))
}
names <- paste0("y", 1:4)
cat(jsonlite::toJSON(list(source = paste("lmerTest", packageVersion("lmerTest"), "lme4", packageVersion("lme4"),
  "R", getRversion()), responses = sapply(names, one, simplify = FALSE)), auto_unbox = TRUE, digits = NA), "\n")
