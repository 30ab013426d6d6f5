/*
 * beta: the Beta distribution (NIST DLMF 8.17), for what is known of a rate after so many trials.
 *
 * Promise: right to nine digits for parameters from 0.5 to ten million. Pure functions.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_BETA_H
#define POLDER_ORIGIN_SUBJECTS_BETA_H

/* The share of the distribution below x: the regularised incomplete beta function. */
double beta_cdf(double alpha, double beta, double x);
/* Below which a share p of it lies; 0 < p < 1. */
double beta_quantile(double alpha, double beta, double p);
double beta_mean(double alpha, double beta);
double beta_sd(double alpha, double beta);

#endif
