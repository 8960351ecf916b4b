# What a user's own template says, and nothing more: no ssh_host, no key of ours, no option that AWS would not take.
# `custom_endpoint_ec2` and the three lines after it are how Packer 1.6.6 is told of an endpoint and of made-up keys.

variable "endpoint" { type = string }
variable "source" { type = string }
variable "name" { type = string }
variable "line" { type = string }

variable "fail" {
  type    = bool
  default = false
}

source "amazon-ebs" "shop" {
  custom_endpoint_ec2         = var.endpoint
  skip_region_validation      = true
  skip_metadata_api_check     = true
  skip_credential_validation  = true
  access_key                  = "AKIAIOSFODNN7EXAMPLE"
  secret_key                  = "wJalrXUtnFEMI"
  region                      = "us-east-1"
  instance_type               = "t3.small"
  ssh_username                = "root"
  ssh_timeout                 = "60s"
  associate_public_ip_address = true
  ami_name                    = var.name
  ami_description             = "made by Packer"

  source_ami_filter {
    filters     = { name = var.source, virtualization-type = "hvm", root-device-type = "ebs" }
    owners      = ["self"]
    most_recent = true
  }

  aws_polling {
    delay_seconds = 1
    max_attempts  = 60
  }

  tags          = { "bakeboot:stack" = "shop", "parent" = "{{ .SourceAMI }}" }
  snapshot_tags = { "bakeboot:build" = "b-1" }
  run_tags      = { "bakeboot:mode" = "bake" }
}

build {
  sources = ["source.amazon-ebs.shop"]

  provisioner "shell" {
    inline = ["echo '${var.line}' >> /etc/shop-lines", "cat /etc/shop-lines"]
  }

  provisioner "shell" {
    inline = [var.fail ? "exit 3" : "true"]
  }

  post-processor "manifest" {
    output = "${path.cwd}/manifest.json"
  }
}
