package main

import (
	"path/filepath"

	"sluice"
	"sluice/internal/worker/deps"
)

// dependencyFlags say where a worker finds packages and keeps them.
type dependencyFlags struct {
	CacheDir            string   `help:"Folder of installed packages, on the file system of the data folder; else cache in that." env:"SLUICE_CACHE_DIR" placeholder:"DIR"`
	CacheMaxGB          int64    `help:"How much installed packages may take on disk, in GiB." name:"cache-max-gb" default:"10" env:"SLUICE_CACHE_MAX_GB"`
	PipIndexURL         string   `help:"Index of Python packages; else PyPI." env:"SLUICE_PIP_INDEX_URL" placeholder:"URL"`
	PipFindLinks        []string `help:"Folders or pages with Python wheels." sep:"," env:"SLUICE_PIP_FIND_LINKS" placeholder:"PLACE"`
	PipNoIndex          bool     `help:"Take Python packages from --pip-find-links alone." env:"SLUICE_PIP_NO_INDEX"`
	NPMRegistry         string   `help:"Registry of npm packages; else npm's." name:"npm-registry" env:"SLUICE_NPM_REGISTRY" placeholder:"URL"`
	GoProxy             string   `help:"Proxies of Go modules, as GOPROXY." env:"SLUICE_GO_PROXY,GOPROXY" placeholder:"URLS"`
	GoSumDB             string   `help:"Checksum database of Go modules, as GOSUMDB." name:"go-sumdb" env:"SLUICE_GO_SUMDB,GOSUMDB" placeholder:"NAME"`
	GoPrivate           string   `help:"Go modules that no proxy knows, as GOPRIVATE." env:"SLUICE_GO_PRIVATE,GOPRIVATE" placeholder:"PATTERNS"`
	AllowInstallScripts bool     `help:"Let packages run code of their own while they are installed; only where jobs are walled off." env:"SLUICE_ALLOW_INSTALL_SCRIPTS"`
}

func (d *dependencyFlags) check() error {
	const most = 1 << 20
	if d.CacheMaxGB < 1 || d.CacheMaxGB > most {
		return sluice.Invalid("--cache-max-gb", "must be from 1 to %s", grouped(most))
	}
	if d.PipNoIndex && len(d.PipFindLinks) == 0 {
		return sluice.Invalid("--pip-no-index", "needs --pip-find-links")
	}
	return nil
}

// cacheDir returns the folder of installed packages; data is the data folder.
func (d *dependencyFlags) cacheDir(data string) string {
	if d.CacheDir == "" {
		return filepath.Join(data, "cache")
	}
	return d.CacheDir
}

// dependencies returns the worker's settings.
func (d *dependencyFlags) dependencies() deps.Config {
	return deps.Config{
		MaxBytes: d.CacheMaxGB << 30, AllowInstallScripts: d.AllowInstallScripts,
		PipIndexURL: d.PipIndexURL, PipFindLinks: d.PipFindLinks, PipNoIndex: d.PipNoIndex, NPMRegistry: d.NPMRegistry,
		GoProxy: d.GoProxy, GoSumDB: d.GoSumDB, GoPrivate: d.GoPrivate,
	}
}
