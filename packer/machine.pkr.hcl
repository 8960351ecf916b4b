# Builds one stage of an image on a machine that is already up and answers on SSH.
#
# Serves Packer 1.6.6 (Debian) and 1.10 or newer: no required_plugins block (1.6.6 refuses it), no option
# that either lacks; null, shell, file and manifest are part of Packer itself.

variable "ssh_host" { type = string }
variable "ssh_port" { type = number }
variable "ssh_private_key_file" { type = string }

variable "payload" {
  type        = string
  description = "The archive that holds all that a provisioner reads."
}

variable "scripts" {
  type        = list(string)
  description = "The provisioning scripts of this stage, in order."
}

variable "result" {
  type        = string
  description = "Where the archive of what the machine reports is put."
}

variable "manifest" { type = string }
variable "build" { type = string }
variable "image" { type = string }
variable "stage" { type = string }

source "null" "machine" {
  communicator         = "ssh"
  ssh_host             = var.ssh_host
  ssh_port             = var.ssh_port
  ssh_username         = "root"
  ssh_private_key_file = var.ssh_private_key_file
  ssh_timeout          = "60s"
}

build {
  sources = ["source.null.machine"]

  provisioner "file" {
    source      = var.payload
    destination = "/run/bakeboot-build/payload.tar"
  }

  provisioner "shell" {
    scripts         = var.scripts
    remote_folder   = "/run/bakeboot-build"
    execute_command = "{{ .Vars }} /bin/sh -eu {{ .Path }}"
  }

  provisioner "file" {
    direction   = "download"
    source      = "/run/bakeboot-build/result.json"
    destination = var.result
  }

  post-processor "manifest" {
    output = var.manifest
    custom_data = {
      build = var.build
      image = var.image
      stage = var.stage
    }
  }
}
